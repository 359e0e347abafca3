"""Files that should not be: mutations of small whole ones of every family and layout."""

from __future__ import annotations

import copy
import json
import math
import random
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from small_checkpoints import File, Stored, Tensors, packed, small_checkpoints

from varifold.models.checkpoint.header import DTYPE_BITS
from varifold.models.checkpoint.spec import GENERATOR_KEY, KEY

HUGE = (2**31 - 1, 2**31, 2**32, 2**53, 2**60, 2**63, 2**64, 10**30, 10**400)
ODD = (-1, 0, 1, 3, 0.5, -0.0, 1e308)
STRANGE = (None, True, False, *ODD, "", "4", "F32", "\x1b[2J", "\ud800", [], {}, [[]], [0], *HUGE)
PATHS = ("../../../etc/passwd", "/etc/passwd", "..\\..\\x", "C:\\x")
NAMES = (*PATHS, "\x1b[31mred", "\u202egnirts", "ünï·cödé", "名前", "\x00", "\n", "", " ")
MANY = ("99", "127", "128", "999", "9999", "999999", "999999999", "9" * 40)
NUMBERS = ("-1", "00", "7", *MANY, "٣", "²", "1e3", "x", "")


def _spans(rng: random.Random, size: int, longest: int = 40) -> slice:
    at = rng.randrange(size)
    return slice(at, at + rng.randrange(1, longest))


def header_flipped(file: File, rng: random.Random) -> bytes:
    return _flipped(file.packed(), rng, in_body=False)


def body_flipped(file: File, rng: random.Random) -> bytes:
    return _flipped(file.packed(), rng, in_body=True)


def _flipped(data: bytes, rng: random.Random, in_body: bool) -> bytes:
    data, body = bytearray(data), 8 + int.from_bytes(data[:8], "little")
    places = range(body, len(data)) if in_body else range(body)
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        data[rng.choice(places)] = rng.choice((rng.randrange(256), 0, 255, ord(rng.choice('0123456789-"{}[],:.e'))))
    return bytes(data)


def header_cut_or_repeated(file: File, rng: random.Random) -> bytes:
    """The length is right or that of before."""
    header = bytearray(json.dumps(file.entries()).encode())
    before, where = len(header), _spans(rng, len(header), rng.choice((4, 40, 4000)))
    header[where] = rng.choice((b"", header[where] * 2, b" " * 50, header[_spans(rng, before)]))
    data = packed(bytes(header), file.body())
    return data if rng.random() < 0.7 else before.to_bytes(8, "little") + data[8:]


def length_wrong(file: File, rng: random.Random) -> bytes:
    data = file.packed()
    length = int.from_bytes(data[:8], "little")
    wrong = rng.choice((0, 1, 2, length - 1, length + 1, len(data) - 8, len(data), 16_000_000, 2**31, 2**63, 2**64 - 1))
    return wrong.to_bytes(8, "little") + data[8:]


def cut_short(file: File, rng: random.Random) -> bytes:
    data = file.packed()
    header = 8 + int.from_bytes(data[:8], "little")
    return data[: rng.choice((rng.randrange(header), rng.randrange(header, len(data)), len(data) - 1, header, 8, 9))]


def bytes_appended(file: File, rng: random.Random) -> bytes:
    return file.packed() + rng.choice((b"\0", file.body(), bytes(1000)))


def stretches_swapped(file: File, rng: random.Random) -> bytes:
    data = bytearray(file.packed())
    where, other = _spans(rng, len(data), 5000), _spans(rng, 5000, 500)
    data[where], data[other] = data[other], data[where]
    return bytes(data)


def said(change: Callable[[dict, File, random.Random], None]) -> Callable[[File, random.Random], bytes]:
    """A mutation of what the header says, over the same body."""

    def mutate(file: File, rng: random.Random) -> bytes:
        entries = file.entries()
        for _ in range(rng.choice((1, 1, 3))):
            change(entries, file, rng)
        return packed(json.dumps(entries), file.body())

    mutate.__name__ = change.__name__
    return mutate


def _entry(entries: dict, rng: random.Random) -> dict:
    return entries[rng.choice([name for name in entries if name != "__metadata__"])]


@said
def value_strange(entries, file, rng):
    entry = _entry(entries, rng)
    field = rng.choice(("dtype", "shape", "data_offsets", "shape", "data_offsets"))
    if isinstance(entry.get(field), list) and entry[field] and rng.random() < 0.8:
        entry[field][rng.randrange(len(entry[field]))] = rng.choice(STRANGE)
    else:
        entry[field] = rng.choice(STRANGE)


@said
def field_missing_or_more(entries, file, rng):
    entry = _entry(entries, rng)
    if entry and rng.random() < 0.5:
        del entry[rng.choice(list(entry))]
    else:
        entry[rng.choice(("more", "Dtype", "__metadata__"))] = rng.choice(STRANGE)


@said
def dtype_wrong(entries, file, rng):
    _entry(entries, rng)["dtype"] = rng.choice([*DTYPE_BITS, "f32", "F37", "", "float32"])


@said
def offsets_wrong(entries, file, rng):
    entry, other = _entry(entries, rng), _entry(entries, rng)
    (start, end), shift = entry["data_offsets"], rng.choice((1, 2, 8, -1, -2, 2**40))
    entry["data_offsets"] = rng.choice(
        (
            [start + shift, end + shift],
            [start, end + shift],
            [end, start],
            other["data_offsets"],
            [0, 0],
            [start, start],
        )
    )


@said
def shape_huge_and_empty(entries, file, rng):
    entry = _entry(entries, rng)
    entry["shape"] = rng.choice(
        ([0, 2**59], [2**30, 0, 2**30], [2**59, 2**59], [1] * 16, [1] * 17, [2] * 5000, [0] * 16)
    )
    entry["data_offsets"] = rng.choice(([entry["data_offsets"][0]] * 2, entry["data_offsets"]))


@said
def metadata_strange(entries, file, rng):
    texts = ("", "x" * 100_000, "\x1b[2J", "\ud800", "[" * 5000, "{}")
    key = rng.choice((KEY, GENERATOR_KEY))
    entries["__metadata__"] = rng.choice((*STRANGE, {key: rng.choice(STRANGE)}, {rng.choice(NAMES): rng.choice(texts)}))


def name_twice(file: File, rng: random.Random) -> bytes:
    header = json.dumps(file.entries())
    name = rng.choice(list(file.tensors))
    return packed(header[:-1] + f", {json.dumps(name)}: {json.dumps(file.entries()[name])}}}", file.body())


def key_of(file: File) -> str:
    """Under what its metadata has what it says of itself, if it says anything."""
    return GENERATOR_KEY if GENERATOR_KEY in file.metadata else KEY


def nested_deeply(file: File, rng: random.Random) -> bytes:
    depth = rng.choice((100, 300, 600, 900, 940, 960, 970, 980, 990, 5000, 100_000))
    deep = rng.choice(("[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth, "[" * depth))
    name = json.dumps(rng.choice(list(file.tensors)))
    key = key_of(file)
    if key in file.metadata and rng.random() < 0.7:
        spec = json.loads(file.metadata[key])
        field = rng.choice([*spec, "extra"])
        if rng.random() < 0.3:
            spec["config"]["multipliers"], field = "@", "multipliers"
        else:
            spec[field] = "@"
        spec = json.dumps(spec).replace('"@"', deep)
        return File(file.tensors, {**file.metadata, key: spec}).packed()
    header = rng.choice((deep, f"{{{name}: {deep}}}", f'{{"__metadata__": {{"a": {deep}}}}}'))
    return packed(header, file.body())


def spec_mutated(file: File, rng: random.Random) -> bytes:
    """A file without a spec gets one that claims a net of another family."""
    key = key_of(file)
    donors = [other for other in small_checkpoints().values() if key in other.metadata]
    spec = json.loads((file if key in file.metadata else rng.choice(donors)).metadata[key])
    if rng.random() < 0.4:
        spec["architecture"], spec["config"] = copy.deepcopy(rng.choice(CLAIMS))
        spec["vocabulary"] = []
    for _ in range(rng.choice((0, 1, 1, 2))):
        table = rng.choice((spec, spec["config"] if isinstance(spec["config"], dict) else spec))
        field = rng.choice([*table, "unheard_of"])
        value = table.get(field)
        if isinstance(value, list) and value and rng.random() < 0.6:
            value[rng.randrange(len(value))] = rng.choice(STRANGE)
        else:
            near = [value + 1, value * 2, value - 1, -value] if type(value) in (int, float) else []
            words = [[str(number) for number in range(70_000)], ["x" * 1_000_000], "x" * 100_000, *NAMES]
            table[field] = rng.choice([*STRANGE, *near, rng.choice(words)])
    return File(file.tensors, {**file.metadata, key: json.dumps(spec)}).packed()


CLAIMS = (
    ("unet", {"width": 2048, "multipliers": [16] * 6, "attention_levels": [0, 1, 2, 3, 4, 5], "blocks": 4}),
    ("latent_unet", {"width": 1024, "multipliers": [16] * 6, "depths": [32] * 6, "middle_depth": 32, "blocks": 4}),
    ("latent_unet", {"width": 32, "multipliers": [1] * 6, "depths": [32] * 6, "middle_depth": 32, "blocks": 4}),
    ("dit", {"width": 8192, "depth": 128, "heads": 128, "classes": 65536}),
    ("dit", {"width": 16, "depth": 128, "heads": 1, "classes": 1}),
    ("dit", {"depth": 10_000}),
    ("flux", {"width": 65536, "heads": 512, "axes": [16, 56, 56], "double_blocks": 256, "single_blocks": 256}),
    ("flux", {"width": 2, "heads": 1, "axes": [2, 0, 0], "double_blocks": 256, "single_blocks": 256, "hidden": 1}),
    ("kl_autoencoder", {}),
    ("gan", {"width": 2048, "multipliers": [16] * 6, "patch": 1, "sides": [1024, 1024], "blocks": 4}),
    ("picture_autoencoder", {"width": 16, "multipliers": [1] * 6, "sides": [1024, 1024], "variational": False}),
    ("picture_autoencoder", {"width": 2048, "multipliers": [16] * 6, "sides": [64, 64], "blocks": 4}),
)


CHANGES: list[Callable[[Tensors, random.Random], Tensors]] = []


def tensors(change: Callable[[Tensors, random.Random], Tensors]) -> Callable[[File, random.Random], bytes]:
    """A mutation of a file's tensors, sometimes with another, that leaves a file without a fault in its header."""
    CHANGES.append(change)

    def mutate(file: File, rng: random.Random) -> bytes:
        changed = change(dict(file.tensors), rng)
        while changed and rng.random() < 0.3:
            changed = rng.choice(CHANGES)(changed, rng)
        return File(changed, file.metadata).packed()

    mutate.__name__ = change.__name__
    return mutate


@tensors
def some_removed(tensors, rng):
    for name in rng.sample(list(tensors), min(len(tensors), rng.choice((1, 1, 2, 10, 1000)))):
        del tensors[name]
    return tensors


@tensors
def a_part_removed(tensors, rng):
    """All that shares a name's beginning."""
    name = rng.choice(list(tensors))
    start = name[: rng.choice([found.end() for found in re.finditer(r"\.|$", name)])]
    return {name: kept for name, kept in tensors.items() if not name.startswith(start)}


@tensors
def some_renamed(tensors, rng):
    def renamed(name: str) -> str:
        if rng.random() > 0.1:
            return name
        at = rng.randrange(len(name) + 1)
        return rng.choice((name[:at] + name[at + 1 :], name[:at] + rng.choice(".0x") + name[at:], name.upper(), *NAMES))

    return {renamed(name): kept for name, kept in tensors.items()}


@tensors
def names_strange(tensors, rng):
    """A beginning or an end that all names share, or names that a file has beside its own."""
    strange = rng.choice((*NAMES, "x" * 100_000, "x." * 50_000, ".", "a.b.", "model.", "lora_unet_", "vae."))
    where = rng.randrange(3)
    if where == 2:
        return {**tensors, strange: Stored("U8", (1,), b"\0"), strange + ".weight": Stored("F32", (), bytes(4))}
    return {(name + strange if where else strange + name): kept for name, kept in tensors.items()}


@tensors
def a_name_among_the_net_long_or_strange(tensors, rng):
    name = rng.choice(list(tensors))
    start = name[: rng.choice([0, *(found.end() for found in re.finditer(r"\.", name))])]
    return {**tensors, start + rng.choice((*NAMES, "x" * 100_000, "x\x1b" * 1000)) + name[len(start) :]: tensors[name]}


@tensors
def some_duplicated(tensors, rng):
    for name in rng.sample(list(tensors), min(len(tensors), 5)):
        tensors[
            rng.choice(("model.", "model.diffusion_model.", "vae.", "ema.", "")) + name + rng.choice(("", ".copy"))
        ] = tensors[name]
    return tensors


@tensors
def two_swapped(tensors, rng):
    one, other = rng.choice(list(tensors)), rng.choice(list(tensors))
    tensors[one], tensors[other] = tensors[other], tensors[one]
    return tensors


@tensors
def numbers_strange(tensors, rng):
    """A number in all names that begin alike becomes another."""
    numbered = [name for name in tensors if re.search(r"\d", name)]
    if not numbered:
        return tensors
    name = rng.choice(numbered)
    found = rng.choice(list(re.finditer(r"\d+", name)))
    start, number = name[: found.start()], rng.choice(NUMBERS)
    return {
        start + number + name[found.end() :]
        if name.startswith(name[: found.end()]) and name.startswith(start + found[0])
        else name: kept
        for name, kept in tensors.items()
    }


@tensors
def blocks_skipped(tensors, rng):
    """Numbers from one on are moved up."""
    numbered = [name for name in tensors if re.search(r"\.\d+\.", name)]
    if not numbered:
        return tensors
    found = re.search(r"^(.*?\.)(\d+)\.", rng.choice(numbered), re.DOTALL)
    start, first, by = found[1], int(found[2]), rng.choice((1, 2, 50, 1000))

    def moved(match: re.Match) -> str:
        number = int(match[1])
        return f"{start}{number + by if number >= first else number}."

    return {re.sub(rf"^{re.escape(start)}(\d+)\.", moved, name): kept for name, kept in tensors.items()}


@tensors
def blocks_claimed(tensors, rng):
    """Empty or tiny tensors of blocks that are not there, by the thousand."""
    numbered = [name for name in tensors if re.search(r"\.\d+\.", name)] or list(tensors)
    name, count = rng.choice(numbered), rng.choice((10, 100, 300))
    tiny = rng.choice(
        (Stored("U8", (0,), b""), Stored("F32", (), bytes(4)), Stored("F16", (1,), bytes(2)), tensors[name])
    )
    count = count if len(tiny.data) < 10 else 10
    found = re.search(r"\.\d+\.", name)
    cut = (name[: found.start() + 1], name[found.end() - 1 :]) if found else (name, "")
    return {**tensors, **{f"{cut[0]}{number}{cut[1]}": tiny for number in range(count)}, name: tensors[name]}


@tensors
def thousands_of_tiny_ones(tensors, rng):
    start = rng.choice(("t", "decoder.", "model.diffusion_model.", rng.choice(list(tensors)) + "."))
    return {
        **tensors,
        **{f"{start}{number}": Stored("U8", (1,), b"\0") for number in range(rng.choice((1000,) * 9 + (5000,)))},
    }


def _some(tensors: Tensors, rng: random.Random, change: Callable[[Stored], Stored]) -> Tensors:
    chosen = rng.sample(list(tensors), min(len(tensors), rng.choice((1, 1, 2, 10, 1000))))
    return {name: change(kept) if name in chosen else kept for name, kept in tensors.items()}


@tensors
def shapes_rearranged(tensors, rng):
    """As many elements, in another shape."""

    def change(kept: Stored) -> Stored:
        shape, size = list(kept.shape), math.prod(kept.shape)
        shuffled = rng.sample(shape, len(shape))
        split = next((n for n in (2, 3, 5, 7) if size % n == 0), 1)
        return kept._replace(
            shape=tuple(
                rng.choice(
                    (
                        shuffled,
                        shape[::-1],
                        [*shape, 1, 1],
                        [1, *shape],
                        [size],
                        [size, 1],
                        [split, size // split],
                        [1] * 14 + [size],
                    )
                )
            )
        )

    return _some(tensors, rng, change)


@tensors
def shapes_changed(tensors, rng):
    """A size is another, and the bytes are as many as that needs."""

    def change(kept: Stored) -> Stored:
        shape = list(kept.shape) or [1]
        at = rng.randrange(len(shape))
        shape[at] = rng.choice((0, 1, shape[at] + 1, max(shape[at] - 1, 0), shape[at] * 2, shape[at] // 2, 31, 64))
        if rng.random() < 0.1:
            shape = []
        return sized(kept.dtype, tuple(shape), kept.data)

    return _some(tensors, rng, change)


def sized(dtype: str, shape: tuple[int, ...], data: bytes) -> Stored:
    size = math.prod(shape) * DTYPE_BITS[dtype] // 8
    if size > 4_000_000:
        dtype, shape, size = "U8", (0, *shape[1:]), 0
    return Stored(dtype, shape, (data * (size // max(1, len(data)) + 1))[:size] if data else bytes(size))


@tensors
def dtypes_changed(tensors, rng):
    """Some or all are of another dtype, with as many bytes as that needs."""
    whole = [name for name, bits in DTYPE_BITS.items() if bits >= 8]
    likely = ("F16", "BF16", "F32", "F64", "F8_E4M3", "F8_E5M2")
    return _some(
        tensors, rng, lambda kept: sized(rng.choice((*likely, *likely, rng.choice(whole))), kept.shape, b"\x11\x22")
    )


@tensors
def values_not_finite(tensors, rng):
    pattern = rng.choice((b"\xff", b"\x00\x7c", b"\x00\x00\x80\x7f", b"\x7f", b"\xff\xff\xff\x7f", b"\x00\xfc"))
    return _some(tensors, rng, lambda kept: kept._replace(data=(pattern * len(kept.data))[: len(kept.data)]))


@tensors
def another_grafted(tensors, rng):
    """Tensors of another file among the own ones, over them, or in their place but under their names."""
    names = list(small_checkpoints())
    other = small_checkpoints()[rng.choice(names)].tensors
    some = {name: kept for name, kept in other.items() if rng.random() < rng.choice((0.1, 0.9, 1))}
    if rng.random() < 0.3:
        return dict(zip(tensors, rng.sample(list(other.values()), len(other)), strict=False))
    return {
        **tensors,
        **{rng.choice(("", "vae.", "model.diffusion_model.")) + name: kept for name, kept in some.items()},
    }


MUTATIONS: tuple[Callable[[File, random.Random], bytes], ...] = (
    header_flipped,
    body_flipped,
    header_cut_or_repeated,
    length_wrong,
    cut_short,
    bytes_appended,
    stretches_swapped,
    value_strange,
    field_missing_or_more,
    dtype_wrong,
    offsets_wrong,
    shape_huge_and_empty,
    metadata_strange,
    name_twice,
    nested_deeply,
    spec_mutated,
    spec_mutated,
    spec_mutated,
    some_removed,
    a_part_removed,
    some_renamed,
    names_strange,
    a_name_among_the_net_long_or_strange,
    some_duplicated,
    two_swapped,
    numbers_strange,
    numbers_strange,
    blocks_skipped,
    blocks_claimed,
    thousands_of_tiny_ones,
    shapes_rearranged,
    shapes_rearranged,
    shapes_changed,
    shapes_changed,
    dtypes_changed,
    dtypes_changed,
    values_not_finite,
    another_grafted,
)


class Mutation(NamedTuple):
    """A hostile file: what it was, what was done to it, and its bytes."""

    number: int
    kind: str
    mutation: str
    data: bytes


def mutations(count: int, seed: int = 0) -> Iterator[Mutation]:
    """The first `count` hostile files, the same for the same seed; each by itself, so that one can be had again."""
    for number in range(count):
        yield mutation(number, seed)


def mutation(number: int, seed: int = 0) -> Mutation:
    rng = random.Random(f"{seed} {number}")
    files = small_checkpoints()
    kind = list(files)[number % len(files)]
    mutate = rng.choice(MUTATIONS)
    return Mutation(number, kind, mutate.__name__, mutate(files[kind], rng))
