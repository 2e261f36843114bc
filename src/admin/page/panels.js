// SPDX-License-Identifier: MIT
// Cache, other edges, what failover takes, limits, configuration.

function drawCache(status) {
    const cache = status.cache;
    const memory = cache.memory;
    const saved = [
        ['Saved tokens', isKnown(cache.saved_tokens) ? countText(cache.saved_tokens) : null],
        ['Saved time', isKnown(cache.saved_seconds) ? spanText(cache.saved_seconds) : null, 'of generation'],
    ];
    keepFacts(byId('cache'), cache.enabled ? [
        ['Hit ratio', ratioText(cache.hit_ratio), `${countText(cache.hits)} hits, ${countText(cache.misses)} misses`],
        ...saved,
        ['Memory', bytesText(memory.bytes), `of ${bytesText(memory.bytes_max)}`],
        ['Entries', countText(memory.entries), `${countText(memory.evictions)} evicted`],
    ] : [['Cache', 'switched off', 'cache.enabled']]);
}

// ---- edges: a row each, a column per region ----

function makeCell() {
    const dot = make('span.dot', { 'aria-hidden': 'true' });
    const word = make('span.state');
    const latency = make('span.soft');
    const node = make('td', {}, dot, word, ' ', latency);
    return {
        node,
        update(cell) {
            setAttribute(node, 'data-state', cell.state);
            setText(word, stateTexts[cell.state] ?? cell.state);
            setText(latency, isKnown(cell.path_latency_ms) ? msText(cell.path_latency_ms) : '');
        },
    };
}

function makeEdge() {
    const name = make('th', { scope: 'row' });
    const node = make('tr', {}, name);
    const cells = [];
    return {
        node,
        update(edge) {
            setText(name, edge.edge);
            node.classList.toggle('own', edge.own);
            edge.cells.forEach((cell, index) => {
                if (!cells[index]) {
                    cells[index] = makeCell();
                    node.append(cells[index].node);
                }
                cells[index].update(cell);
            });
            while (cells.length > edge.cells.length) cells.pop().node.remove();
        },
    };
}

function cellsOf(regions, seen) {
    const nothing = { state: 'no report', path_latency_ms: null };
    return regions.map(({ name }) => seen.find((region) => region.name === name) ?? nothing);
}

function majorityOf(region, edges) {
    const { up, down } = region.fleet_view;
    const state = up * 2 > edges ? 'up' : down * 2 > edges ? 'down' : 'no majority';
    return { state, path_latency_ms: null };
}

function drawEdges(status) {
    const edges = status.peers.length + 1;
    const own = status.regions.map(({ name, measured_state: state, path_latency_ms }) =>
        ({ name, state, path_latency_ms }));
    const rows = [
        { edge: `${status.edge.id} (this)`, own: true, cells: own },
        ...status.peers.map((peer) => ({ edge: peer.edge, cells: cellsOf(status.regions, peer.regions) })),
    ];
    const shown = status.peers.length > 0;
    rows.push({ edge: 'Majority', cells: status.regions.map((region) => majorityOf(region, edges)) });
    setText(byId('edges-note'), shown
        ? `${plural(edges, 'edge', 'edges')}, as each sees the regions. Others advise; this one decides by itself.`
        : 'No other edge reports. Edges see each other through the Redis of a region.');
    setHidden(byId('edges-scroll'), !shown);
    if (!shown) return;
    const titles = ['Edge', ...status.regions.map((region) => region.name)];
    keepRows(byId('edges-head'), titles, (title, index) => `${index} ${title}`,
        (title) => ({ node: make('th', { scope: 'col' }, title), update() {} }));
    keepRows(byId('edges'), rows, (row) => row.edge, makeEdge);
}

// ---- failover ----

function makeFailover([region]) {
    const cells = ['refused', 'vanished', 'hung'].map((key) => [`detect_${key}_ms`, make('td')]);
    return {
        node: make('tr', {}, make('th', { scope: 'row' }, region.name), ...cells.map(([, cell]) => cell)),
        update([now, deadline]) {
            for (const [key, cell] of cells) {
                setText(cell, now[key] > 0 ? secondsText(now[key]) : 'by traffic');
                setAttribute(cell, 'data-tone', now[key] > deadline * 1000 ? 'warn' : null);
            }
        },
    };
}

function drawFailover(status) {
    const deadline = status.routing.failover_deadline_s;
    setText(byId('failover-note'), 'How long new requests may still be sent to a region that refuses ' +
        `connections, vanishes, or hangs, by the settings in force; ${deadline} s are promised for the first ` +
        'two. Requests without a byte of their answer move at once.');
    keepRows(byId('failover'), status.regions.map((region) => [region, deadline]),
        ([region]) => region.name, makeFailover);
}

// ---- limits ----

function drawLimits(status) {
    const limits = Object.entries(status.limits_hit)
        .map(([word, total]) => [word, total, status.limits_hit_recently[word] ?? 0]);
    setHidden(byId('limits-none'), limits.length > 0);
    keepRows(byId('limits'), limits, ([word]) => word, ([word]) => {
        const count = make('span');
        const recent = make('span');
        const node = make('li', {}, make('code', {}, word), count, recent);
        return {
            node,
            update([, total, now]) {
                setText(count, plural(total, 'time', 'times'));
                setText(recent, now > 0 ? `${countText(now)} in the last minute` : 'not in the last minute');
                setAttribute(node, 'data-tone', now > 0 ? 'warn' : null);
            },
        };
    });
}

// ---- configuration ----

function drawConfig(status) {
    const { edge, routing } = status;
    const reload = edge.last_reload;
    const asked = edge.workers_asked > 0 && edge.workers_asked !== edge.workers;
    setHidden(byId('config-error'), reload.ok);
    setText(byId('config-error'), reload.ok ? '' : `Refused at ${clockText(reload.time)}: ${reload.error}`);
    keepFacts(byId('config'), [
        ['Generation', String(edge.config_generation)],
        [reload.ok ? 'Loaded' : 'Last tried', clockText(reload.time), dayText(reload.time)],
        ['File', edge.config_path || 'command line'],
        ['Budget', `${routing.latency_budget_ms} ms`, 'near at or under it'],
        ['Balance', plainWord(routing.balance), 'inside a region'],
        ['Workers', String(edge.workers), asked ? `${edge.workers_asked} after a restart` : ''],
    ]);
}
