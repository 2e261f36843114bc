// SPDX-License-Identifier: MIT
// The top of the page: where new requests go and why, what is wrong, the figures of now.

const reasonTexts = {
    down: (from) => `${from} went down`,
    drained: (from) => `${from} was drained`,
    put_aside: (from) => `${from} was put aside`,
    near_again: (from) => `it is near again, ${from} is far`,
    closer: (from) => `it became closer than ${from}`,
};

function cameBy(choice) {
    if (!choice.reason || !choice.from || choice.from === 'none') return '';
    const text = reasonTexts[choice.reason];
    return text ? text(choice.from) : plainWord(choice.reason);
}

function nextText(status, home) {
    const next = status.regions.find((region) => region.name === status.choice.next);
    if (!home) return '';
    if (!next) return `Nothing to fall back on: if ${home.name} fails, no other region can serve.`;
    const seconds = `${secondsText(home.detect_refused_ms)} when it refuses connections, ` +
        `${secondsText(home.detect_vanished_ms)} when it vanishes`;
    return `If it fails, ${next.name} takes over at ${msText(next.path_latency_ms)}: after at most ${seconds}.`;
}

function drawChoice(status) {
    const home = status.regions.find((region) => region.name === status.home);
    const place = byId('choice');
    keepRows(place, [[home, status.home_since_s]], () => 'choice', () => {
        const name = make('strong');
        const latency = make('span.class');
        const since = make('span.soft');
        const node = make('span', {}, name, ' ', latency, ' ', since);
        return {
            node,
            update([region, seconds]) {
                setText(name, region ? region.name : 'no region');
                setText(latency, region && isKnown(region.path_latency_ms)
                    ? `${msText(region.path_latency_ms)}, ${region.near ? 'near' : 'far'}` : '');
                setAttribute(latency, 'data-near', region ? String(region.near) : null);
                setText(since, region ? `for ${spanText(seconds)}` : '');
            },
        };
    });
    const by = cameBy(status.choice);
    setText(byId('choice-why'), home ? `${capital(status.choice.why)}.${by ? ` Chosen when ${by}.` : ''}` : 'Every region is down, drained or put aside. The least bad one is tried.');
    setText(byId('choice-next'), nextText(status, home));
}

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

// ---- figures ----

function drawFigures(status) {
    const { waiting, queued, streaming } = status.requests.inflight;
    const pending = status.regions.reduce((sum, region) => sum + region.pending, 0);
    const cache = status.cache;
    keepFacts(byId('figures'), [
        ['Answers/s', rateText(status.requests.per_s), 'last minute'],
        ['Pending', countText(pending), `${countText(queued)} queued`, pending > 0 && queued > 0 ? 'warn' : null],
        ['In flight', countText(waiting + queued + streaming), `${countText(streaming)} streaming`],
        ['Cache hits', cache.enabled ? ratioText(cache.hit_ratio) : 'off', cache.enabled ? `${countText(cache.hits)} answers` : ''],
        ['Clients', countText(status.connections.clients), 'connections'],
    ]);
}

// ---- alerts ----

// No figures that go on changing: a screen reader reads an alert again when it changes.
function podReasons(region) {
    const reasons = new Set(region.endpoints.map((pod) => plainWord(pod.reason)).filter(Boolean));
    return reasons.size > 0 ? [...reasons].join(', ') : 'none of its pods is up';
}

function badRegions(status) {
    const alerts = [];
    const aside = status.regions.filter((region) => region.breaker !== 'closed' && !region.drained && region.state !== 'down').map((region) => region.name);
    const drained = status.regions.filter((region) => region.drained).map((region) => region.name);
    const redis = status.regions.filter((region) => region.redis.configured && !region.redis.up).map((region) => region.name);
    for (const region of status.regions.filter((one) => one.state === 'down')) {
        alerts.push([`down ${region.name}`, 'bad', `${region.name} is down: ${podReasons(region)}.`]);
    }
    if (aside.length > 0) alerts.push(['aside', 'bad', `Put aside because real requests failed: ${aside.join(', ')}.`]);
    if (drained.length > 0) alerts.push(['drained', 'held', `Drained by an operator: ${drained.join(', ')}.`]);
    if (redis.length > 0) alerts.push(['redis', 'warn', `Redis does not answer: ${redis.join(', ')}. Requests go on without its cache.`]);
    return alerts;
}

function alertsOf(status) {
    const alerts = [];
    const home = status.regions.find((region) => region.name === status.home);
    if (status.edge.draining) alerts.push(['draining', 'warn', 'This edge is about to stop: it takes no new connections, requests under way finish.']);
    if (status.edge.suspect) alerts.push(['suspect', 'bad', 'Every region is down here, but not for other edges: the fault is this edge, or its network.']);
    if (!home) alerts.push(['none', 'bad', 'No region can serve.']);
    if (home && !home.near) alerts.push(['far', 'warn', `No near region can serve: requests go to ${home.name}, over the budget of ${status.routing.latency_budget_ms} ms.`]);
    alerts.push(...badRegions(status));
    if (!status.edge.last_reload.ok) alerts.push(['reload', 'warn', `The last reload was refused; generation ${status.edge.config_generation} stays in force. ${status.edge.last_reload.error}`]);
    const limits = Object.keys(status.limits_hit_recently);
    if (limits.length > 0) alerts.push(['limits', 'warn', `Limits hit in the last minute: ${limits.map(plainWord).join(', ')}.`]);
    return alerts;
}

function drawAlerts(status) {
    keepRows(byId('alerts'), alertsOf(status), ([key]) => key, () => {
        const node = make('li');
        return { node, update([, tone, text]) { setAttribute(node, 'data-tone', tone); setText(node, text); } };
    });
}
