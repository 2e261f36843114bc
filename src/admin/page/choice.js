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
    setText(byId('choice-why'), home ? whyText(status.choice) : NOWHERE);
    setText(byId('choice-next'), nextText(status, home));
}

const NOWHERE = 'Every region is down, drained or put aside. The least bad one is tried.';

function whyText(choice) {
    const by = cameBy(choice);
    return `${capital(choice.why)}.${by ? ` Chosen when ${by}.` : ''}`;
}

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

// ---- figures ----

function drawFigures(status) {
    const { waiting, queued, streaming } = status.requests.inflight;
    const pending = status.regions.reduce((sum, region) => sum + region.pending, 0);
    const { enabled, hit_ratio: ratio, hits } = status.cache;
    keepFacts(byId('figures'), [
        ['Answers/s', rateText(status.requests.per_s), 'last minute'],
        ['Pending', countText(pending), `${countText(queued)} queued`, queued > 0 ? 'warn' : null],
        ['In flight', countText(waiting + queued + streaming), `${countText(streaming)} streaming`],
        ['Cache hits', enabled ? ratioText(ratio) : 'off', enabled ? `${countText(hits)} answers` : ''],
        ['Clients', countText(status.connections.clients), 'connections'],
    ]);
}

// ---- alerts: [key, tone, text] ----
// No figures that go on changing: a screen reader reads an alert again when it changes.

function podReasons(region) {
    const reasons = new Set(region.endpoints.map((pod) => plainWord(pod.reason)).filter(Boolean));
    return reasons.size > 0 ? [...reasons].join(', ') : 'none of its pods is up';
}

// One alert for all regions of which `isSo` holds; none when there is none.
function alertOfThose(regions, isSo, key, tone, text) {
    const names = regions.filter(isSo).map((region) => region.name);
    return names.length > 0 ? [[key, tone, text(names.join(', '))]] : [];
}

function regionAlerts(regions) {
    const isAside = (one) => one.breaker !== 'closed' && !one.drained && one.state !== 'down';
    return [
        ...regions.filter((one) => one.state === 'down')
            .map((one) => [`down ${one.name}`, 'bad', `${one.name} is down: ${podReasons(one)}.`]),
        ...alertOfThose(regions, isAside, 'aside', 'bad',
            (names) => `Put aside because real requests failed: ${names}.`),
        ...alertOfThose(regions, (one) => one.drained, 'drained', 'held',
            (names) => `Drained by an operator: ${names}.`),
        ...alertOfThose(regions, hasPodsDrained, 'pods drained', 'held',
            (names) => `Every pod that is up was drained: ${names}.`),
        ...alertOfThose(regions, (one) => one.tls_verify === 'off', 'unchecked', 'warn',
            (names) => `Certificates are not checked (tls.verify = false): ${names}. ` +
                'Anyone on the way can read and change what goes there.'),
        ...alertOfThose(regions, (one) => one.redis.configured && !one.redis.up, 'redis', 'warn',
            (names) => `Redis does not answer: ${names}. Requests go on without its cache.`),
        ...regions.filter((one) => one.redis.error).map(({ name, redis }) => [`refuses ${name}`, 'warn',
            `Redis of ${name} refuses ${redis.error_command}: ${plainWord(redis.error)}. ${redis.advice ?? ''}`]),
    ];
}

function homeAlerts(status) {
    const home = status.regions.find((region) => region.name === status.home);
    if (!home) return [['none', 'bad', 'No region can serve.']];
    return home.near ? [] : [['far', 'warn', `No near region can serve: requests go to ${home.name}, ` +
        `over the budget of ${status.routing.latency_budget_ms} ms.`]];
}

function edgeAlerts({ edge, limits_hit_recently: recent }) {
    const alerts = [];
    const { version, last_upgrade: upgrade } = edge;
    const limits = Object.keys(recent).map(plainWord);
    if (!edge.last_reload.ok) {
        alerts.push(['reload', 'warn', `The last reload was refused; generation ${edge.config_generation} ` +
            `stays in force. ${edge.last_reload.error}`]);
    }
    if (upgrade && !upgrade.ok) {
        alerts.push(['upgrade', 'warn', `The last upgrade failed; ${version} goes on. ${upgrade.error}`]);
    }
    if (limits.length > 0) {
        alerts.push(['limits', 'warn', `Limits hit in the last minute: ${limits.join(', ')}.`]);
    }
    return alerts;
}

function alertsOf(status) {
    const alerts = [];
    if (status.edge.draining) {
        alerts.push(['draining', 'warn',
            'This edge is about to stop: it takes no new connections, requests under way finish.']);
    }
    if (status.edge.suspect) {
        alerts.push(['suspect', 'bad',
            'Every region is down here, but not for other edges: the fault is this edge, or its network.']);
    }
    return [...alerts, ...homeAlerts(status), ...regionAlerts(status.regions), ...edgeAlerts(status)];
}

function drawAlerts(status) {
    keepRows(byId('alerts'), alertsOf(status), ([key]) => key, () => {
        const node = make('li');
        return { node, update([, tone, text]) { setAttribute(node, 'data-tone', tone); setText(node, text); } };
    });
}
