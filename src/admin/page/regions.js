// SPDX-License-Identifier: MIT
// A card per region: how far, how it is, what it carries, its pods.

const PODS_SHOWN = 4; // with more, only so many that are not well; the rest is behind a button

const podKey = (pod) => `${pod.host} ${pod.address}`;
const isWell = (pod) => pod.state === 'up' && pod.breaker === 'closed' && !pod.drained;
// A drain has an age of its own beside the state's.
const stateAge = (one) => one.drained ? one.drained_since_s : one.since_s;

function podTone(pod) {
    if (pod.drained) return 'drained';
    return pod.state === 'up' && pod.breaker !== 'closed' ? 'aside' : pod.state;
}

function podWords(pod) {
    const words = [];
    if (pod.drained) words.push('drained');
    if (!pod.drained || pod.measured_state !== 'up') words.push(pod.measured_state);
    if (pod.breaker !== 'closed') words.push(pod.breaker === 'open' ? 'put aside' : 'on trial');
    return words.join(', ');
}

function podDetail(pod) {
    const parts = [];
    if (pod.reason) parts.push(plainWord(pod.reason));
    if (isWell(pod) && pod.weight < 1) parts.push(`slow start, ${ratioText(pod.weight)}`);
    if (isKnown(pod.load?.kv_cache)) parts.push(`KV cache ${ratioText(pod.load.kv_cache)}`);
    parts.push(spanText(stateAge(pod)));
    return parts.join(' · ');
}

function makePod(view) {
    let now = null;
    const address = make('span.address');
    const state = make('span.state');
    const detail = make('span.soft.detail');
    const load = make('span.load');
    const bar = make('span.bar-fill');
    const button = make('button.quiet.small', { type: 'button', onclick: () => askPod(view.region, now) });
    const loadBox = make('p.load-box', {}, make('span.bar', { 'aria-hidden': 'true' }, bar), load);
    const node = make('li.pod', {}, make('span.dot', { 'aria-hidden': 'true' }),
        make('p', {}, address, ' ', state, ' ', detail), loadBox, button);
    return {
        node,
        update(pod) {
            now = pod;
            setAttribute(node, 'data-state', podTone(pod));
            node.classList.toggle('kept', view.kept.has(pod));
            setText(address, pod.address);
            setAttribute(address, 'title', pod.host && !pod.address.startsWith(pod.host) ? pod.host : null);
            setText(state, podWords(pod));
            setText(detail, podDetail(pod));
            setHidden(loadBox, !isWell(pod) && pod.inflight === 0);
            setText(load, `${countText(pod.inflight)} in flight · ${countText(pod.pending)} pending`);
            setProperty(bar, '--part', `${(100 * pod.inflight / Math.max(view.busiest, 4)).toFixed(0)}%`);
            setText(button, pod.drained ? 'Undrain' : 'Drain');
            setAttribute(button, 'aria-label', `${pod.drained ? 'Undrain' : 'Drain'} pod ${pod.address}`);
        },
    };
}

// ---- the card ----

const stateTexts = { unknown: 'not probed yet', up: 'up', degraded: 'degraded', down: 'down', drained: 'drained' };

// It is up, but an operator took every pod out that is.
const hasPodsDrained = (region) => region.verdict === 'no_endpoint' && !region.drained;

function regionState(region) {
    if (hasPodsDrained(region)) return ['drained', 'pods drained'];
    if (!region.drained && region.breaker !== 'closed') {
        return ['aside', region.breaker === 'open' ? 'put aside' : 'on trial'];
    }
    return [region.state, stateTexts[region.state] ?? region.state];
}

function sinceText(region) {
    const measured = region.drained ? `, measured ${region.measured_state}` : '';
    return `for ${spanText(stateAge(region))}${measured}`;
}

function redisFact(region) {
    if (!region.redis.configured) return ['Redis', 'none', ''];
    if (region.redis.error) return ['Redis', 'refuses', `${region.redis.error_command}: ${region.redis.error}`, 'warn'];
    return ['Redis', region.redis.up ? 'up' : 'down', region.redis.address ?? '', region.redis.up ? null : 'warn'];
}

function tlsFact({ tls_verify: verify }) {
    return ['TLS', verify === 'off' ? 'unchecked' : null, 'tls.verify = false', 'warn'];
}

function votesFact(region, peers) {
    if (peers.length === 0) return ['Other edges', null];
    const { up, down } = region.fleet_view;
    const alike = region.measured_state === 'down' ? down : up;
    return ['Edges agree', `${alike} of ${peers.length + 1}`, `${up} up, ${down} down`,
        alike * 2 <= peers.length + 1 ? 'warn' : null];
}

// What the engines and their exporters say, where their pages are read.
function loadFacts(load) {
    const known = (value, text) => isKnown(value) ? text(value) : null;
    return [
        ['Engine queue', known(load?.waiting, countText)],
        ['KV cache', known(load?.kv_cache, ratioText)],
        ['GPU', known(load?.gpu, ratioText)],
    ];
}

function regionFacts(region, status) {
    return [
        ['Pending', countText(region.pending)],
        ['In flight', countText(region.inflight)],
        ['Answers/s', rateText(region.requests_per_s)],
        ['TTFT p50', msText(region.ttft_recent_p50_ms), `since the start ${msText(region.ttft_p50_ms)}`],
        ['TTFT p99', msText(region.ttft_recent_p99_ms), `since the start ${msText(region.ttft_p99_ms)}`],
        ...loadFacts(region.load),
        redisFact(region),
        tlsFact(region),
        votesFact(region, status.peers),
        ['Slow start', region.weight < 1 ? ratioText(region.weight) : null],
    ];
}

const sourceTexts = { tcp: 'TCP', probe: 'probe', peers: 'other edges' };

function makeLatency() {
    const number = make('strong.number');
    const near = make('span.class');
    const source = make('span.soft');
    const curve = makeCurve();
    return {
        node: make('div.latency', {}, make('p', {}, number, ' ', near, ' ', source), curve.node),
        update(region, budget) {
            const known = isKnown(region.path_latency_ms);
            setText(number, known ? msText(region.path_latency_ms) : 'unknown');
            setText(near, known ? (region.near ? 'near' : 'far') : '');
            setAttribute(near, 'data-near', known ? String(region.near) : null);
            const old = region.measured_state === 'down';
            setText(source, !known ? 'not measured yet' : old ? 'when it was last seen'
                : `measured by ${sourceTexts[region.latency_source] ?? region.latency_source}`);
            curve.update(region, budget);
        },
    };
}

function makeShare() {
    const fill = make('span.bar-fill');
    const text = make('span');
    return {
        node: make('p.share', {}, make('span.soft', {}, 'Share of traffic, last minute'), text,
            make('span.bar', { 'aria-hidden': 'true' }, fill)),
        update(region) {
            setText(text, ratioText(region.share));
            setProperty(fill, '--part', `${(100 * (region.share ?? 0)).toFixed(0)}%`);
        },
    };
}

function makePods(view, id) {
    const summary = make('span');
    const list = make('ul.pods', { id: `${id}-pods`, 'aria-label': 'Pods' });
    const more = make('button.quiet.small',
        { type: 'button', 'aria-controls': list.id, 'aria-expanded': 'false' });
    const squares = make('span.squares', { 'aria-hidden': 'true' });
    let open = false;
    more.onclick = () => {
        open = !open;
        list.classList.toggle('all', open);
        setAttribute(more, 'aria-expanded', String(open));
        setText(more, open ? 'Show fewer' : 'Show all');
        setAttribute(list, 'tabindex', open ? 0 : null); // it scrolls then
    };
    setText(more, 'Show all');
    return {
        node: make('div.pod-box', {}, make('header.bar', {}, make('h4', {}, 'Pods ', summary), more), squares, list),
        update(region) {
            const pods = region.endpoints;
            const well = pods.filter(isWell).length;
            const many = pods.length > PODS_SHOWN;
            view.region = region;
            view.kept = new Set(pods.filter((pod) => !isWell(pod)).slice(0, PODS_SHOWN));
            view.busiest = Math.max(0, ...pods.map((pod) => pod.inflight));
            setText(summary, pods.length === 0 ? 'none is known yet' : `${well} of ${pods.length} up`);
            setHidden(more, !many);
            setHidden(squares, !many);
            list.classList.toggle('few', !many);
            keepRows(list, pods, podKey, () => makePod(view));
            keepRows(squares, many ? pods : [], podKey, () => {
                const node = make('i');
                return { node, update: (pod) => setAttribute(node, 'data-state', podTone(pod)) };
            });
        },
    };
}

let regionCount = 0;

function makeRegion(first) {
    const id = `region-${++regionCount}`;
    const view = { region: first, busiest: 0, kept: new Set() };
    let status = null;
    const name = make('h3', { id }, first.name);
    const home = make('span.badge', {}, 'chosen');
    const state = make('span.state');
    const since = make('span.soft');
    const drain = make('button.small', { type: 'button', onclick: () => askRegion(status, view.region) });
    const why = make('p.why');
    const latency = makeLatency();
    const share = makeShare();
    const facts = make('dl.facts.tight');
    const pods = makePods(view, id);
    const article = make('article.card.region', { 'aria-labelledby': id },
        make('header', {}, make('div', {}, name, home), drain),
        make('p.condition', {}, make('span.dot', { 'aria-hidden': 'true' }), state, ' ', since),
        latency.node, why, share.node, facts, pods.node);
    return {
        node: make('li', {}, article),
        update([region, whole]) {
            const [key, word] = regionState(region);
            status = whole;
            setAttribute(article, 'data-state', key);
            article.classList.toggle('home', whole.home === region.name);
            setHidden(home, whole.home !== region.name);
            setText(state, word);
            setText(since, sinceText(region));
            setText(drain, region.drained ? 'Undrain' : 'Drain');
            setAttribute(drain, 'aria-label', `${region.drained ? 'Undrain' : 'Drain'} region ${region.name}`);
            setText(why, whole.home === region.name ? `Chosen: ${region.why}` : `Not chosen: ${region.why}`);
            latency.update(region, whole.routing.latency_budget_ms);
            share.update(region);
            keepFacts(facts, regionFacts(region, whole));
            pods.update(region);
        },
    };
}

function regionsSummary(status) {
    const counts = new Map();
    for (const region of status.regions) {
        const word = regionState(region)[1];
        counts.set(word, (counts.get(word) ?? 0) + 1);
    }
    const near = status.regions.filter((region) => region.near).length;
    const words = [...counts].map(([word, count]) => `${count} ${word}`);
    return `${words.join(', ')} · ${near} within ${status.routing.latency_budget_ms} ms`;
}

function drawRegions(status) {
    setText(byId('regions-summary'), regionsSummary(status));
    byId('region-list').classList.toggle('many', status.regions.length > 6);
    keepRows(byId('region-list'), status.regions.map((region) => [region, status]),
        ([region]) => region.name, ([region]) => makeRegion(region));
}
