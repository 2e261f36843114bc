// SPDX-License-Identifier: MIT
// What happened, newest first, as sentences. The edge keeps the last 1000 events.

const TIMELINE_STEP = 12;
const TIMELINE_KEPT = 400;
const podKinds = new Set(['endpoint_state', 'endpoint_breaker', 'addresses', 'peer_suspicion']);

const timeline = { events: [], shown: TIMELINE_STEP, pods: false };

// [tone, sentence, why]
const eventWriters = {
    home(event) {
        const why = reasonTexts[event.reason];
        const reason = event.from && event.from !== 'none' && why ? why(event.from) : plainWord(event.reason);
        if (event.to === 'none') return ['bad', 'No region can serve', reason];
        if (event.from === 'none') return ['good', `Requests go to ${event.to}`, reason];
        const lost = event.reason === 'down' || event.reason === 'put_aside';
        return [lost ? 'warn' : 'info', `${lost ? 'Failover' : 'Moved'}: ${event.from} → ${event.to}`, reason];
    },
    region_state: (event) => [stateTone(event.to),
        event.to === 'degraded' ? `${event.region}: some pods are down` : `${event.region} is ${event.to}`,
        plainWord(event.reason)],
    region_class: (event) => [event.to === 'near' ? 'good' : 'info', `${event.region} is ${event.to}`,
        event.from === 'unknown' ? 'first measured' : `was ${event.from}`],
    region_breaker: (event) => breakerSentence(event, event.region),
    endpoint_breaker: (event) => breakerSentence(event, `Pod ${event.endpoint} of ${event.region}`),
    endpoint_state: (event) => [stateTone(event.to),
        `Pod ${event.endpoint} of ${event.region} is ${event.to}`, plainWord(event.reason)],
    drain(event) {
        const what = event.endpoint ? `Pod ${event.endpoint} of ${event.region}` : event.region;
        return ['held', event.to === 'drained' ? `${what} drained` : `${what} back in service`, `by ${event.reason}`];
    },
    redis_state: (event) => [event.to === 'up' ? 'good' : 'warn',
        `Redis of ${event.region} is ${event.to}`, plainWord(event.reason)],
    reload: (event) => event.to === 'ok'
        ? ['info', 'Configuration reloaded', ''] : ['warn', 'Reload refused', event.reason],
    upgrade: (event) => upgradeSentence(event),
    start: (event) => ['info', `Started, version ${event.to}`, ''],
    edge_suspect: (event) => event.to === 'yes'
        ? ['bad', 'This edge is suspect', event.reason]
        : ['good', 'This edge is no longer suspect', ''],
    peer_suspicion: (event) => ['info',
        `${event.region} probed at once: another edge sees it down`, plainWord(event.reason)],
    addresses: (event) => ['info', `New addresses in ${event.region}`, event.reason],
};

function upgradeSentence(event) {
    if (event.to === 'started') return ['info', 'Upgrade: the new program starts', event.reason];
    return event.to === 'ok' ? ['good', 'Upgraded: this process took over', '']
        : ['bad', 'Upgrade failed', event.reason];
}

const stateTone = (state) => state === 'up' ? 'good' : state === 'down' ? 'bad' : 'warn';

function breakerSentence(event, what) {
    if (event.to === 'open') return ['bad', `${what} put aside`, plainWord(event.reason)];
    if (event.to === 'trial') return ['info', `${what} on trial`, plainWord(event.reason)];
    return ['good', `${what} taken back`, plainWord(event.reason)];
}

function eventSentence(event) {
    const writer = eventWriters[event.kind];
    return writer ? writer(event) : ['info', event.text, ''];
}

// ---- keeping them ----

// Announces what is new, but not what was there when the page was opened.
function addEvents(events, quietly) {
    const last = timeline.events[0]?.number ?? 0;
    const fresh = events.filter((event) => event.number > last);
    if (fresh.length === 0) return;
    timeline.events = [...fresh.toReversed(), ...timeline.events].slice(0, TIMELINE_KEPT);
    if (quietly) return;
    const said = fresh.filter((event) => !podKinds.has(event.kind)).map((event) => eventSentence(event)[1]);
    if (said.length > 0) announce(said.slice(-4).join('. '));
}

function forgetEvents() {
    timeline.events = [];
}

// ---- drawing them ----

function makeEvent(event) {
    const [tone, sentence, why] = eventSentence(event);
    const ago = make('span.soft');
    const clock = make('time', { dateTime: event.time, title: event.time }, clockText(event.time));
    return {
        node: make('li', { 'data-tone': tone }, make('span.when', {}, clock, ago),
            make('span.what', {}, make('span', {}, sentence), make('span.soft', {}, why ? ` ${why}` : ''))),
        update: () => setText(ago, ` ${agoText((timeline.now - Date.parse(event.time)) / 1000)}`),
    };
}

function drawTimeline(status) {
    timeline.now = Date.parse(status.edge.time);
    const wanted = timeline.events.filter((event) => timeline.pods || !podKinds.has(event.kind));
    keepRows(byId('timeline'), wanted.slice(0, timeline.shown), (event) => event.number, makeEvent);
    setHidden(byId('timeline-none'), wanted.length > 0);
    setHidden(byId('timeline-more'), wanted.length <= timeline.shown);
}

function startTimeline(redraw) {
    byId('timeline-all').addEventListener('click', () => {
        timeline.pods = !timeline.pods;
        setAttribute(byId('timeline-all'), 'aria-pressed', String(timeline.pods));
        redraw();
    });
    byId('timeline-more').addEventListener('click', () => {
        timeline.shown += 2 * TIMELINE_STEP;
        redraw();
    });
}
