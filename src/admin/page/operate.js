// SPDX-License-Identifier: MIT
// Draining and undraining: asked first, with what will follow; the token is asked for when the edge
// wants one, and kept for this tab alone.

const TOKEN_KEY = 'nearside-admin-token';

const refusalTexts = {
    token_missing: 'This edge wants its admin token (admin.token in its configuration).',
    token_wrong: "That is not this edge's admin token. Nothing was changed.",
    no_token_set: 'No admin token is set at this edge, and its admin address is open to other machines, ' +
        'so it takes changes from nobody. Set admin.token and reload.',
    named_host: 'No admin token is set at this edge, so it takes changes only from a page opened by ' +
        'address or as localhost. Open it that way, or set admin.token.',
};

const tokenStore = {
    get() {
        try { return sessionStorage.getItem(TOKEN_KEY); } catch { return null; }
    },
    set(token) {
        try { sessionStorage.setItem(TOKEN_KEY, token); } catch { /* then it is asked for again */ }
    },
    forget() {
        try { sessionStorage.removeItem(TOKEN_KEY); } catch { /* there is none */ }
    },
};

let pendingAct = null; // what the dialog asks about

// `act`: {path, title, text, button, done}
function askToOperate(act) {
    pendingAct = act;
    setText(byId('ask-title'), act.title);
    setText(byId('ask-text'), act.text);
    setText(byId('ask-go'), act.button);
    setText(byId('ask-error'), '');
    byId('ask-token').value = '';
    setHidden(byId('ask-token-row'), true);
    byId('ask').showModal();
    byId('ask-go').focus();
}

async function sendAct(path, token) {
    const answer = await fetch(path, {
        method: 'POST',
        headers: token ? { Authorization: `Bearer ${token}` } : {},
        signal: AbortSignal.timeout(5000),
    });
    if (answer.ok) return null;
    const body = await answer.json().catch(() => ({}));
    return { code: body.error?.code ?? '', message: body.error?.message ?? `Status ${answer.status}.` };
}

function showRefusal(refusal) {
    if (refusal.code === 'token_wrong') tokenStore.forget();
    if (refusal.code === 'token_missing' || refusal.code === 'token_wrong') {
        setHidden(byId('ask-token-row'), false);
        byId('ask-token').value = '';
        byId('ask-token').focus();
    }
    setText(byId('ask-error'), refusalTexts[refusal.code] ?? refusal.message);
}

async function onAskSubmit(event) {
    event.preventDefault();
    const act = pendingAct;
    const typed = byId('ask-token').value;
    const token = typed || tokenStore.get();
    const go = byId('ask-go');
    if (go.disabled) return;
    setText(byId('ask-error'), '');
    go.disabled = true;
    try {
        const refusal = await sendAct(act.path, token);
        if (refusal !== null) {
            showRefusal(refusal);
            return;
        }
        if (typed) tokenStore.set(typed);
        byId('ask').close();
        announce(act.done);
        pollNow();
    } catch {
        setText(byId('ask-error'), 'The edge did not answer; it is not known whether it did it. Look at its state.');
    } finally {
        go.disabled = false;
    }
}

function startOperating() {
    byId('ask-form').addEventListener('submit', onAskSubmit);
    byId('ask-cancel').addEventListener('click', () => byId('ask').close());
}

// ---- what is asked ----

function whatDrainDoes(status, region) {
    if (status.home !== region.name) {
        return `Requests that go to ${region.name} go elsewhere.`;
    }
    const next = status.regions.find((one) => one.name === status.choice.next);
    return next
        ? `New requests go to ${next.name}, ${msText(next.path_latency_ms)} away, from then on.`
        : 'No other region can serve new requests.';
}

const LASTS = 'Requests under way finish. It lasts until it is undone, and holds for every edge that shares ' +
    "the region's Redis, restarts included.";

function askRegion(status, region) {
    const path = `/regions/${encodeURIComponent(region.name)}`;
    askToOperate(region.drained
        ? { path: `${path}/undrain`, title: `Take ${region.name} back into service?`, button: 'Undrain',
            text: 'It serves again as soon as its pods are up and it is the best choice.',
            done: `${region.name} is back in service.` }
        : { path: `${path}/drain`, title: `Drain ${region.name}?`, button: 'Drain',
            text: `${whatDrainDoes(status, region)} ${LASTS}`, done: `${region.name} is drained.` });
}

function askPod(region, pod) {
    const path = `/endpoints/${encodeURIComponent(pod.address)}`;
    askToOperate(pod.drained
        ? { path: `${path}/undrain`, title: `Take pod ${pod.address} back into service?`, button: 'Undrain',
            text: `It is a pod of ${region.name}.`, done: `${pod.address} is back in service.` }
        : { path: `${path}/drain`, title: `Drain pod ${pod.address}?`, button: 'Drain',
            text: `The other pods of ${region.name} take its requests. ${LASTS}`, done: `${pod.address} is drained.` });
}
