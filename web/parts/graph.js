// Walking a graph: which node a socket hangs on, and what its widgets say.

export function widget(node, name) {
  return node.widgets?.find((candidate) => candidate.name === name);
}

export function values(node) {
  const named = (node.widgets ?? []).filter((candidate) => candidate.options?.serialize !== false);
  return Object.fromEntries(named.map((candidate) => [candidate.name, candidate.value]));
}

export function origin(node, name) {
  const slot = node.inputs?.findIndex((input) => input.name === name) ?? -1;
  return slot < 0 ? null : node.getInputNode(slot);
}

// The file of the Load Denoiser that a node's denoiser comes from, through nodes that pass one on; null if unknown.
export function denoiserFile(node) {
  const seen = new Set();
  let source = origin(node, "denoiser");
  while (source && !seen.has(source)) {
    seen.add(source);
    if (source.comfyClass === "VarifoldLoadDenoiser") return widget(source, "file")?.value ?? null;
    source = origin(source, "denoiser") ?? (source.inputs?.length === 1 ? source.getInputNode(0) : null);
  }
  return null;
}

// Calls `changed` when a widget of the node, or a wire into it, changes. Widgets keep the callbacks they have.
export function watch(node, changed) {
  for (const each of node.widgets ?? []) {
    const before = each.callback;
    each.callback = function (...args) {
      const result = before?.apply(this, args);
      changed(each.name);
      return result;
    };
  }
  for (const event of ["onConnectionsChange", "onConfigure"]) {
    const before = node[event];
    node[event] = function (...args) {
      const result = before?.apply(this, args);
      queueMicrotask(() => changed(null));
      return result;
    };
  }
}
