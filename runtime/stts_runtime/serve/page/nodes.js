// Making elements, and keeping them in order.

export function made(kind, className, ...content) {
  const node = document.createElement(kind);
  if (className) node.className = className;
  node.append(...content);
  return node;
}

// What stands right already is not moved: it keeps the focus, goes on playing, and does not flicker.
export function setChildren(parent, nodes) {
  nodes.forEach((node, number) => {
    if (parent.children[number] !== node) parent.insertBefore(node, parent.children[number] ?? null);
  });
  while (parent.children.length > nodes.length) parent.lastElementChild.remove();
}
