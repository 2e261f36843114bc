// SPDX-License-Identifier: MIT
// Changing the page without flicker: a node is made once, and touched only where it changed.

const byId = (id) => document.getElementById(id);

// make('li.pod', {title: 'x'}, child, 'text'): an element; properties that hold a dash, and role,
// become attributes.
function make(what, properties = {}, ...children) {
    const [tag, ...classes] = what.split('.');
    const node = document.createElement(tag);
    if (classes.length > 0) node.className = classes.join(' ');
    for (const [name, value] of Object.entries(properties)) {
        if (name.includes('-') || name === 'role' || name === 'scope') node.setAttribute(name, value);
        else node[name] = value;
    }
    node.append(...children);
    return node;
}

function makeSvg(tag, attributes = {}, ...children) {
    const node = document.createElementNS('http://www.w3.org/2000/svg', tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
}

function setText(node, text) {
    if (node.textContent !== text) node.textContent = text;
}

function setAttribute(node, name, value) {
    if (!isKnown(value)) node.removeAttribute(name);
    else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

function setHidden(node, hidden) {
    if (node.hidden !== hidden) node.hidden = hidden;
}

function setProperty(node, name, value) {
    if (node.style.getPropertyValue(name) !== value) node.style.setProperty(name, value);
}

const ROWS = Symbol('rows');

// One child of `parent` per item, in their order, kept by key: create(item) gives {node, update}.
function keepRows(parent, items, keyOf, create) {
    const rows = parent[ROWS] ??= new Map();
    const seen = new Set();
    items.forEach((item, index) => {
        const key = keyOf(item, index);
        if (!rows.has(key)) rows.set(key, create(item));
        const row = rows.get(key);
        seen.add(key);
        if (parent.children[index] !== row.node) {
            parent.insertBefore(row.node, parent.children[index] ?? null);
        }
        row.update(item);
    });
    for (const [key, row] of rows) {
        if (seen.has(key)) continue;
        row.node.remove();
        rows.delete(key);
    }
}

// A <dl> of [title, text, note] rows.
function keepFacts(list, facts) {
    keepRows(list, facts.filter(([, text]) => text !== null), ([title]) => title, ([title]) => {
        const value = make('dd');
        const text = make('span');
        const note = make('span.soft.note');
        value.append(text, note);
        return {
            node: make('div', {}, make('dt', {}, title), value),
            update([, now, more, tone]) {
                setText(text, now);
                setText(note, more ? ` ${more}` : '');
                setAttribute(value, 'title', more || null);
                setAttribute(value, 'data-tone', tone);
            },
        };
    });
}

// Read out by screen readers, once.
function announce(text) {
    setText(byId('said'), text);
}
