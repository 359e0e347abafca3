"""A labelled set in a folder: adding to it, judging what is in it, and reading it."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .errors import DatasetError
from .files import GRAPHS, IMAGES, Files, sync_folder
from .hashing import colours_differ, distance, perceptual_hash
from .index import IS_SAMPLE, Index
from .ledger import BODY, Ledger
from .lock import Lock
from .marks import Mark
from .members import members
from .metadata import decode
from .names import file_names
from .provenance import Key, json_text
from .rules import Rules
from .sample import Sample
from .splits import SHARES, Decision, decide

LEDGER, LOCK = "ledger.jsonl", "lock"
BY_HAND = "by hand"
SAME_COLOUR = 8.0  # of 255; JPEG and scaling change less, another hue more
DECIDED_LATER = ("split", "group")


@dataclass(frozen=True)
class Added:
    """What became of a picture: outcome "added", "rejected" (kept, but not live), "known" from a run before, or "full"
    (not kept, for its classes have all they want); reason: why it was rejected."""

    id: str
    outcome: str
    reason: str | None = None


def open(folder: str | Path, rules: Rules | None = None, write: bool = True) -> Store:
    """The set in `folder`, made if there is none; `with` closes it. Without `rules`, those of Rules().

    Without `write` nothing is locked or changed, and another process may be writing. Raises LockedError, which names
    the other process, if another writes it, and DatasetError for a folder that cannot be written or is no set.
    """
    folder, rules = Path(folder), rules or Rules()
    try:
        return _open_to_write(folder, rules) if write else _open_to_read(folder, rules)
    except OSError as error:
        raise DatasetError(f"cannot open the set in {folder}: {error.strerror}") from error


def _open_to_read(folder: Path, rules: Rules) -> Store:
    if not (folder / LEDGER).is_file():
        raise DatasetError(f"{folder} has no {LEDGER}, so it is no set of Varifold's")
    return Store(folder, rules, None)


def _open_to_write(folder: Path, rules: Rules) -> Store:
    if not folder.exists():
        folder.mkdir(parents=True, exist_ok=True)
        sync_folder(folder.parent)
    lock = Lock(folder / LOCK)
    lock.acquire()
    try:
        return Store(folder, rules, lock)
    except BaseException:
        lock.release()
        raise


class Store:
    """A set that is open: see open(). When a method returns, what it did is on the disk, but for those in a batch()."""

    def __init__(self, folder: Path, rules: Rules, lock: Lock | None):
        self.folder = folder
        self.rules = rules
        self.files = Files(folder)
        self._lock = lock
        self._ledger = Ledger(folder / LEDGER)
        self._batches = 0
        self._load()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Write what still waits, and let others write."""
        if self._lock is None:
            return
        try:
            self._flush()
        finally:
            self._ledger.close()
            self.files.forget()
            self._lock.release()
            self._lock = None

    def __len__(self) -> int:
        """How many samples are live."""
        return len(self._index) - len(self._index.rejected)

    def __contains__(self, key: Key) -> bool:
        """Whether the sample of a key was added, live or not."""
        return key.id in self._index.numbers

    @property
    def counts(self) -> Counter:
        """Class -> live samples with it, whether as the picture's label or an object's."""
        return Counter({name: count for name, count in self._index.counts.items() if count > 0})

    @property
    def splits(self) -> Counter:
        """Split -> live samples in it; those that have none yet are left out."""
        return Counter(filter(None, map(self._index.split, self._index.live())))

    @property
    def reasons(self) -> Counter:
        """Why samples are not live, without the details, and how many."""
        return Counter(reason.partition(":")[0] for reason in self._index.rejected.values())

    @property
    def ids(self) -> list[str]:
        """Of all samples, live or not, in the order in which they were added."""
        return list(self._index.ids)

    @property
    def names(self) -> dict[str, str]:
        """Label -> the file name that it has in this set for good."""
        return dict(self._index.names)

    @property
    def wanting(self) -> dict[str, int]:
        """Class -> how many samples its quota still wants; what is full is left out."""
        lacks = {name: quota - self._index.counts[name] for name, quota in self.rules.quotas.items()}
        return {name: lack for name, lack in lacks.items() if lack > 0}

    @property
    def state(self) -> str:
        """The SHA-256 of the ledger: whatever is done to the set changes it."""
        self._flush()
        return self._ledger.digest()

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        """What is done inside reaches the disk when it ends, however it ends, at the cost of one wait and not of many.

        A process that is killed before may lose what was done inside. The end raises DatasetError if the disk takes no
        more, and what did not reach it is undone.
        """
        self._batches += 1
        try:
            yield
        finally:
            self._batches -= 1
            if not self._batches:
                self._flush()

    def add_graph(self, graph: Any) -> str:
        """Keep a graph (JSON data), once, as graphs/<hash>.json; its hash."""
        text = json_text(graph, "this graph")
        path, name = self.files.place(GRAPHS, text, ".json")
        if name not in self._index.graphs:
            self._writable().put(path, text)
            self._append({"kind": "graph", "hash": name, "file": path})
        return name

    def add(
        self,
        picture: np.ndarray,
        key: Key,
        *,
        label: str | None = None,
        caption: str | None = None,
        marks: Sequence[Mark] = (),
        links: Sequence[str] = (),
        provenance: Mapping[str, Any] | None = None,
        comfyui: Mapping[str, Any] | None = None,
    ) -> Added:
        """Add a picture [H, W, 3 or 4], uint8, unless the set has a sample of this key.

        links: what it is made from (a source picture's hash, a sprite's, ...), as any text that its other users tell
        too: samples with a link in common go to one split, as do those of the same seed and index. provenance: JSON
        data; its author and licence go into the picture as well. comfyui: see Encoding.encode.

        Raises DatasetError for a picture, mark or record that is none, and if the disk takes no more.
        """
        self._writable()
        if key in self:
            return self._known(key.id)
        shape = _checked(picture).shape
        for number, mark in enumerate(marks, 1):
            mark.check(number, shape[:2])
        classes = sorted({*([] if label is None else [label]), *(mark.label for mark in marks)}, key=str)
        if self._is_full(classes):
            return Added(key.id, "full")
        if not all(isinstance(link, str) for link in links):
            raise DatasetError(f"links are text, not {links!a}")
        told = dict(provenance or {})
        json_text(told, "this provenance")
        marked = [mark.instance() for mark in marks]
        content = self.rules.encoding.encode(picture, told.get("author"), told.get("licence"), comfyui)
        image, digest = self.files.place(IMAGES, content, self.rules.encoding.suffix)
        instances = tuple(instance for instance, _ in marked)
        sample = Sample(key.id, image, shape[1], shape[0], digest, label, caption, instances, provenance=told)
        Sample.from_json(sample.to_json())
        head = {
            "kind": "sample",
            "id": key.id,
            "hash": f"{perceptual_hash(picture):016x}",
            "rejected": self.rules.filters.complaint(
                picture, [mark.mask for mark in marks if mark.mask is not None], len(marks)
            ),
            "classes": classes,
            "links": sorted({f"noise {key.seed} {key.index}", *links}),
            "key": list(key),
        }
        masks = {instance.mask: mask for instance, mask in marked if mask is not None}
        body = {name: value for name, value in sample.to_json().items() if name not in DECIDED_LATER}
        return self._keep({**head, **body}, content, masks)

    def copy(self, source: Store, id: str) -> Added:
        """Add a sample of another set as it stands there, with its labels and its rejection, but without its split."""
        self._writable()
        if id in self._index.numbers:
            return self._known(id)
        entry = source.entry(id)
        Sample.from_json({**entry, **dict.fromkeys(DECIDED_LATER, "")}, f"sample {id} of {source.folder}")
        if self._is_full(entry["classes"]):
            return Added(id, "full")
        masks = {path: source.files.get(path) for path in _masks(entry)}
        return self._keep(entry, source.files.get(entry["image"]), masks)

    def reject(self, id: str, reason: str = BY_HAND) -> None:
        """Take a sample out of the live ones; its files stay. Raises DatasetError for an unknown id."""
        if self._index.number(id) not in self._index.rejected:
            self._append({"kind": "reject", "id": id, "reason": reason})

    def restore(self, id: str) -> None:
        """Undo a rejection, whoever made it."""
        if self._index.number(id) in self._index.rejected:
            self._append({"kind": "restore", "id": id})

    def relabel(self, id: str, label: str, instance: int | None = None) -> None:
        """Give a picture another label, or one of its instances."""
        sample = self.sample(id)
        count = len(sample.instances)
        if instance is not None and not 0 <= instance < count:
            raise DatasetError(f"sample {id} has {count} instances, numbered from 0: there is no {instance}")
        labels = [label if index == instance else each.label for index, each in enumerate(sample.instances)]
        own = label if instance is None else sample.label
        if own == sample.label and labels == [each.label for each in sample.instances]:
            return
        classes = sorted({*labels, *([] if own is None else [own])})
        self._name(classes)
        self._append({"kind": "relabel", "id": id, "instance": instance, "label": label, "classes": classes})

    def samples(self) -> Iterator[Sample]:
        """The live samples in the order in which they were added, read as they are asked for."""
        return (sample for sample, reason in self._all() if reason is None)

    def links(self) -> Iterator[tuple[str, ...]]:
        """What each live sample shares with others, in the order of samples()."""
        return (tuple(self._index.links(line)) for number, line in self._lines() if self._index.is_live(number))

    def rejected(self) -> Iterator[tuple[Sample, str]]:
        """The samples that are not live, and why."""
        return ((sample, reason) for sample, reason in self._all() if reason is not None)

    def sample(self, id: str) -> Sample:
        """One sample, live or not. Raises DatasetError for an unknown id."""
        return self._sample(self._index.number(id), self.entry(id))

    def reason(self, id: str) -> str | None:
        """Why a sample is not live; None for one that is. Raises DatasetError for an unknown id."""
        return self._index.rejected.get(self._index.number(id))

    def all_keys(self) -> Iterator[Key]:
        """The keys of all samples, live or not, in the order in which they were added."""
        return (Key(*json.loads(line)["key"]) for _, line in self._lines())

    def entry(self, id: str) -> dict[str, Any]:
        """What the ledger would say of a sample if it were added as it stands now, but for its split."""
        number = self._index.number(id)
        self._flush()
        return self._entry(number, self._ledger.at(self._index.offsets[number]))

    @property
    def graphs(self) -> list[str]:
        """The hashes of the graphs that are kept."""
        return list(self._index.graphs)

    def graph(self, name: str) -> Any:
        """A graph by its hash. Raises DatasetError for one that is not kept or is broken."""
        if name not in self._index.graphs:
            raise DatasetError(f"the set has no graph {name!r}")
        return json.loads(self.files.get(self._index.graphs[name]))

    def split(self, shares: Mapping[str, float] = SHARES, seed: int = 0) -> Decision:
        """Give every live sample without one a split and a group, for good, and tell what was decided.

        Samples with a link in common and near-duplicates (Rules.near) stay together; see splits.decide. A sample that
        would leak from one split into another is rejected, with the groups in the reason.
        """
        self._writable()
        decision = decide(members(self._index, self._lines(), self.rules.near), shares, seed)
        if decision.placed or decision.refused:
            groups = {name: [split, list(ids)] for name, (split, ids) in decision.placed.items()}
            told = {"shares": dict(shares), "seed": seed, "groups": groups, "rejected": decision.refused}
            self._append({"kind": "split", **told})
        return decision

    def broken(self) -> list[str]:
        """The paths of the set's files that are missing or not what was written; reads them all."""
        return [path for path in sorted(self._paths()) if not self.files.is_whole(path)]

    def sweep(self) -> list[str]:
        """Delete the files that no entry names, as a run leaves that was cut off and never continued; their paths."""
        return self._writable().sweep(self._paths())

    def _writable(self) -> Files:
        if self._lock is None:
            raise DatasetError(f"{self.folder} is open for reading only, or closed")
        return self.files

    def _append(self, entry: Mapping[str, Any]) -> None:
        self._writable()
        self._index.take(*self._ledger.append(entry))
        if not self._batches:
            self._flush()

    def _flush(self) -> None:
        try:
            self.files.flush()
            self._ledger.flush()
        except DatasetError:
            self._load()
            raise

    def _load(self) -> None:
        """Begin anew from what the disk has."""
        self._index = Index()
        for offset, line in self._ledger.read():
            try:
                self._index.take(offset, line)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                what = error if isinstance(error, DatasetError) else f"it is not as Varifold writes them ({error!r})"
                raise DatasetError(f"{self._ledger.path}, line {self._ledger.count + 1}: {what}") from error
        if self._lock is not None:
            self.files.forget()

    def _name(self, labels: Sequence[str]) -> None:
        known = self._index.names
        if all(label in known for label in labels):
            return
        for label, name in file_names(labels, known).items():
            if label not in known:
                self._append({"kind": "name", "label": label, "name": name})

    def _known(self, id: str) -> Added:
        return Added(id, "known", self._index.rejected.get(self._index.numbers[id]))

    def _is_full(self, classes: Sequence[str]) -> bool:
        wanting = self.wanting
        return bool(classes) and all(name in self.rules.quotas and name not in wanting for name in classes)

    def _keep(self, entry: Mapping[str, Any], image: bytes, masks: Mapping[str, bytes]) -> Added:
        """Write a sample's files and then its line, as a duplicate if it is one."""
        reason = entry["rejected"] or self._duplicate_of(image, int(entry["hash"], 16))
        for path, content in {**masks, entry["image"]: image}.items():
            self.files.put(path, content)
        self._name(entry["classes"])
        self._append({**entry, "rejected": reason})
        return Added(entry["id"], "rejected" if reason else "added", reason)

    def _duplicate_of(self, image: bytes, value: int) -> str | None:
        if self.rules.duplicate is None:
            return None
        index = self._index
        for number in index.hashes.near(value, self.rules.duplicate):
            if index.is_live(number) and self._has_colours(number, image):
                bits = distance(value, index.hashes[number])
                return f"duplicate: it differs from {index.ids[number]} in {bits} of 64 bits"
        return None

    def _has_colours(self, number: int, image: bytes) -> bool:
        """Whether a sample has the colours of a picture, as far as its file can be read."""
        path = self.folder / self.sample(self._index.ids[number]).image
        try:
            return colours_differ(decode(image), decode(path.read_bytes())) <= SAME_COLOUR
        except (OSError, SyntaxError):
            return False

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        """Number and line of each sample."""
        self._flush()
        return enumerate(line for line in self._ledger.lines() if line.startswith(IS_SAMPLE, BODY))

    def _all(self) -> Iterator[tuple[Sample, str | None]]:
        for number, line in self._lines():
            entry = self._entry(number, line)
            yield self._sample(number, entry), entry["rejected"]

    def _entry(self, number: int, line: bytes) -> dict[str, Any]:
        entry = json.loads(line)
        del entry["crc"]
        try:
            for instance, label in self._index.relabelled.get(number, {}).items():
                (entry if instance is None else entry["instances"][instance])["label"] = label
        except (LookupError, TypeError) as error:
            told = f"sample {self._index.ids[number]} has no instance {instance!a} to give another label"
            raise DatasetError(f"{self._ledger.path}: {told}") from error
        entry["classes"] = list(self._index.classes(number))
        entry["rejected"] = self._index.rejected.get(number)
        return entry

    def _sample(self, number: int, entry: Mapping[str, Any]) -> Sample:
        group = self._index.group(number)
        decided = {"split": self._index.split(number), "group": "" if group is None else self._index.ids[group]}
        return Sample.from_json({**entry, **decided}, f"{self._ledger.path}, sample {self._index.ids[number]}")

    def _paths(self) -> set[str]:
        paths = set(self._index.graphs.values())
        for _, line in self._lines():
            entry = json.loads(line)
            paths.update((entry["image"], *_masks(entry)))
        return paths


def _masks(entry: Mapping[str, Any]) -> Iterator[str]:
    return (instance["mask"] for instance in entry["instances"] if instance["mask"])


def _checked(picture: np.ndarray) -> np.ndarray:
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] not in (3, 4) or 0 in picture.shape:
        raise DatasetError(f"a picture is [height, width, 3 or 4] of uint8, not {picture.dtype} {picture.shape}")
    return picture
