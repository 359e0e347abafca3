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
  return slot < 0 || !node.graph ? null : node.getInputNode(slot);
}

function isReroute(node) {
  return /^reroute/i.test(node?.type ?? "");
}

// The same, past nodes that only lead a wire elsewhere.
export function source(node, name) {
  let found = origin(node, name);
  while (isReroute(found)) found = found.getInputNode(0);
  return found;
}

// The node that makes a node's denoiser, before any that pass it on; null if nothing is wired.
export function denoiserSource(node) {
  const seen = new Set();
  let found = source(node, "denoiser");
  while (found && !seen.has(found) && origin(found, "denoiser")) {
    seen.add(found);
    found = source(found, "denoiser");
  }
  return found;
}

// The file of the Load Denoiser that a node's denoiser comes from; null if there is none.
export function denoiserFile(node) {
  const found = denoiserSource(node);
  return found?.comfyClass === "VarifoldLoadDenoiser" ? (widget(found, "file")?.value ?? null) : null;
}

// All nodes that a denoiser goes to, through those that pass it on.
export function denoiserTargets(node) {
  if (!node.graph) return [];
  const reached = new Set([node]);
  for (const from of reached) {
    for (const [slot, output] of (from.outputs ?? []).entries()) {
      if (output.type !== "VARIFOLD_DENOISER" && !isReroute(from)) continue;
      for (const target of from.getOutputNodes(slot) ?? []) reached.add(target);
    }
  }
  return [...reached];
}

// What to ask about a Noise Schedule: its widgets, and the denoiser that it takes its range from.
export function scheduleQuestion(node) {
  const found = denoiserSource(node);
  const toy = found?.comfyClass === "VarifoldToy" ? values(found) : null;
  return { widgets: values(node), file: denoiserFile(node), toy };
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
