"""What can go wrong with a workflow: in words for people, in ComfyUI's shapes for programs."""

from __future__ import annotations


class WorkflowError(ValueError):
    """The file cannot be run; the message says what is wrong, where, and what to do."""


class SettingError(WorkflowError):
    """A value given on the command line does not fit the workflow."""


class InvalidPrompt(WorkflowError):
    """Validation failed. `error` and `node_errors` have the shapes of ComfyUI's answer to POST /prompt."""

    def __init__(self, prompt: dict, error: dict, node_errors: dict):
        self.error = error
        self.node_errors = node_errors
        super().__init__(describe(prompt, node_errors) or f"{error['message']}\n{error['details']}".strip())


class NodeError(RuntimeError):
    """A node raised. Carries what ComfyUI's `execution_error` message carries."""

    def __init__(self, details: dict, title: str):
        self.details = details
        self.node_id: str = details["node_id"]
        self.class_type: str = details["node_type"]
        self.title = title
        self.exception_type: str = details["exception_type"]
        self.exception_message: str = details["exception_message"]
        super().__init__(f"node {name_node(self.node_id, self.class_type, title)}: {self.exception_message}")


class Cancelled(BaseException):
    """The user has cancelled the run. Not an Exception, so that no node swallows it."""


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether memory has run out. Of a CPU's and of an Apple GPU's, PyTorch says so in words only."""
    told = any(words in str(error) for words in ("out of memory", "DefaultCPUAllocator"))
    return told or isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__


def name_node(node_id: str, class_type: str, title: str | None = None) -> str:
    kind = f"{class_type}, id {node_id}"
    return f"'{title}' ({kind})" if title and title != class_type else f"{class_type} (id {node_id})"


def title_of(node: dict) -> str | None:
    meta = node.get("_meta")
    return meta.get("title") if isinstance(meta, dict) else None


def describe(prompt: dict, node_errors: dict) -> str:
    """One line for each thing that is wrong, with the node that it is wrong with."""
    return "\n".join(
        f"node {name_node(node_id, entry['class_type'], title_of(prompt[node_id]))}: "
        f"{reason['message']}: {reason['details']}"
        for node_id, entry in node_errors.items()
        for reason in entry["errors"]
    )
