// SPDX-License-Identifier: MIT
// Asks for /status.json each second while the page is seen, and says so when there is no answer.

const POLL_MS = 1000;
const POLL_TIMEOUT_MS = 3000;

const live = { status: null, answeredAt: 0, lostAt: null, timer: 0, polling: false, started: null };

function draw() {
    const status = live.status;
    const edge = status.edge;
    setText(byId('about'), `${edge.version}, up ${spanText(edge.uptime_s)}`);
    drawAlerts(status);
    drawChoice(status);
    drawFigures(status);
    drawRegions(status);
    drawTimeline(status);
    drawCache(status);
    drawEdges(status);
    drawFailover(status);
    drawLimits(status);
    drawConfig(status);
    document.title = `${status.home ? status.home : 'no region'} · ${edge.id} · Nearside`;
}

// Its event numbers begin anew with the process.
function noticeRestart(status) {
    if (live.started !== null && live.started !== status.edge.started) {
        forgetEvents();
        announce('The edge was restarted.');
    }
    live.started = status.edge.started;
}

function takeStatus(status) {
    const isFirst = live.status === null;
    noticeRestart(status);
    live.status = status;
    live.answeredAt = performance.now();
    addEvents(status.events, isFirst);
    extendCurves(status, live.answeredAt);
    draw();
}

// ---- the link ----

function showFound() {
    if (live.lostAt !== null) announce('The edge answers again.');
    live.lostAt = null;
    setText(byId('link'), 'live');
    setAttribute(byId('link'), 'data-link', 'live');
    byId('page').classList.remove('stale');
}

function showLost() {
    if (live.lostAt === null) {
        live.lostAt = performance.now();
        announce('The edge does not answer. What is shown is old.');
    }
    tellHowLong();
}

// Each second, also while a poll waits for its time to be over.
function tellHowLong() {
    if (live.lostAt === null) return;
    const seconds = (performance.now() - live.answeredAt) / 1000;
    setText(byId('link'), `No answer from this edge for ${spanText(seconds)}. ` +
        `What you see is from ${clockText(live.status.edge.time)}.`);
    setAttribute(byId('link'), 'data-link', 'lost');
    byId('page').classList.add('stale');
}

// null: no answer, or none of use.
async function getJson(path) {
    try {
        const answer = await fetch(path, { signal: AbortSignal.timeout(POLL_TIMEOUT_MS) });
        return answer.ok ? await answer.json() : null;
    } catch {
        return null;
    }
}

async function poll() {
    const begun = performance.now();
    live.polling = true;
    const status = await getJson('/status.json');
    const history = status === null || live.lostAt === null ? null : await getJson('/history.json');
    live.polling = false;
    // A slow link, or an edge with thousands of pods, is asked less often.
    const pause = status === null ? 0 : 5 * (performance.now() - begun);
    if (!document.hidden) live.timer = setTimeout(poll, Math.max(POLL_MS, pause));
    if (status === null) {
        showLost();
        return;
    }
    if (history !== null) loadCurves(history);
    takeStatus(status);
    showFound();
}

function pollNow() {
    clearTimeout(live.timer);
    if (!live.polling) poll();
}

// ---- light and dark ----

const THEMES = ['auto', 'light', 'dark'];
const THEME_KEY = 'nearside-theme';

function showTheme(theme) {
    setAttribute(document.documentElement, 'data-theme', theme === 'auto' ? null : theme);
    const label = `Colours: ${theme === 'auto' ? 'as the system' : theme}. Change.`;
    setText(byId('theme'), { auto: '◐', light: '○', dark: '●' }[theme]);
    setAttribute(byId('theme'), 'aria-label', label);
    setAttribute(byId('theme'), 'title', label);
    byId('theme').value = theme;
}

function startTheme() {
    let theme = 'auto';
    try { theme = localStorage.getItem(THEME_KEY) ?? 'auto'; } catch { /* not allowed: as the system */ }
    showTheme(THEMES.includes(theme) ? theme : 'auto');
    setHidden(byId('theme'), false);
    byId('theme').addEventListener('click', () => {
        const next = THEMES[(THEMES.indexOf(byId('theme').value) + 1) % THEMES.length];
        showTheme(next);
        try { localStorage.setItem(THEME_KEY, next); } catch { /* then it lasts for this visit */ }
    });
}

// ---- start ----

async function startLive() {
    startTheme();
    startOperating();
    startTimeline(() => drawTimeline(live.status));
    setHidden(byId('page'), false);
    takeStatus(JSON.parse(byId('status').textContent));
    showFound();
    setInterval(tellHowLong, POLL_MS);
    document.addEventListener('visibilitychange', () => { if (!document.hidden) pollNow(); });
    const [history, all] = await Promise.all([getJson('/history.json'), getJson('/events.json')]);
    if (history !== null) loadCurves(history);
    if (all !== null) {
        forgetEvents();
        addEvents(all.events, true);
    }
    draw();
    poll();
}

startLive();
