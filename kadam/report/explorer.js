// The Explorer: what the theory says of a pair of decay rates that the reader drags, types or picks.
//
// It fills every <div class="kadam-explorer">, needs no other file and no network, and computes all that it shows.
// beta is the decay of the second moment, PyTorch's beta2; gamma that of the momentum, PyTorch's beta1.
(() => {
  "use strict";

  // ---- The theory: kadam.theory.stability, line for line, for two numbers in [0, 1) ----

  const logRatio = (beta, gamma) => (gamma > 0 ? 2 * Math.log(gamma) - Math.log(beta) : -Infinity); // of gamma^2 to beta
  const oneMinusPower = (x, n) => -Math.expm1(n * Math.log(x));
  const growth = (n, rate) => (n > 0 && rate > 0 ? Math.exp(n * rate) : 1);
  const isOutside = (beta, gamma, edge = gamma * gamma) => beta < edge || (beta === 0 && gamma > 0);
  const isStable = (beta, gamma, edge = gamma * gamma) => beta > edge || gamma === 0;
  const paperEdge = (gamma) => gamma / (2 - gamma);

  function coefficient(beta, gamma) {
    if (gamma === 0) return Infinity;
    if (beta === 0) return -Infinity;
    const forth = (2 * (1 - gamma)) / gamma, back = (1 - beta) / beta;
    if (forth === Infinity && back === Infinity) return (2 * (1 - gamma) * (beta / gamma) - (1 - beta)) / beta;
    return forth - back;
  }

  function growthRate(beta, gamma) {
    return isOutside(beta, gamma) ? Math.max(logRatio(beta, gamma) / 2, 0) : 0;
  }

  function paperGrowthRate(beta, gamma) {
    return isOutside(beta, gamma, paperEdge(gamma)) ? Math.max(-coefficient(beta, gamma) / 2, 0) : 0;
  }

  function prefactor(n, beta, gamma) {
    const biasCorrection = Math.sqrt(oneMinusPower(beta, n + 1)) / oneMinusPower(gamma, n + 1);
    return (biasCorrection * (1 - gamma)) / Math.sqrt(1 - beta);
  }

  function maxUpdateBound(n, beta, gamma) {
    const size = Math.abs(logRatio(beta, gamma));
    const series = size > 0 ? Math.expm1(-(n + 1) * size) / Math.expm1(-size) : n + 1;
    return prefactor(n, beta, gamma) * Math.sqrt(series) * growth(n, logRatio(beta, gamma) / 2);
  }

  function largestUpdate(beta, gamma) { // for ever
    if (!isStable(beta, gamma)) return Infinity;
    return ((1 - gamma) / Math.sqrt(1 - beta)) * (gamma > 0 ? Math.sqrt(beta / (beta - gamma * gamma)) : 1);
  }

  const rmsBound = (n, beta, gamma) => prefactor(n, beta, gamma) * growth(n, logRatio(beta, gamma) / 2);
  const largestRms = (beta, gamma) => // for ever
    isOutside(beta, gamma) ? Infinity : Math.max(1, (1 - gamma) / Math.sqrt(1 - beta));
  const typicalUpdate = (gamma) => Math.sqrt((1 - gamma) / (1 + gamma));
  const criticalSilence = (beta, gamma) => (isOutside(beta, gamma) ? Math.min(beta / gamma / gamma, 1) : 1);

  // g_0..g_n, the largest scaled to 1. What is below 1e-150 has no square in float64 and counts as silence.
  function worstCaseGradients(n, beta, gamma) {
    const slope = Math.log(gamma) - (gamma > 0 ? Math.log(beta) : 0); // of ln g backwards in time
    const exponent = (j) => {
      const steps = slope > 0 ? -j : n - j;
      return steps === 0 ? 0 : steps * slope;
    };
    const sizes = Array.from({ length: n + 1 }, (_, j) => Math.exp(exponent(j)));
    return sizes.map((size) => (size < 1e-150 ? 0 : size));
  }

  // Adam itself, with eps = 0: where the momentum is zero, so is the update.
  function updates(gradients, beta, gamma) {
    let m = 0, v = 0;
    return gradients.map((g, n) => {
      m = gamma * m + (1 - gamma) * g;
      v = beta * v + (1 - beta) * g * g;
      return m === 0 ? 0 : m / oneMinusPower(gamma, n + 1) / Math.sqrt(v / oneMinusPower(beta, n + 1));
    });
  }

  const BELOW_ONE = 1 - 2 ** -53;
  const SAME_FOR_EVERY_STAGE = {
    repeat: (x) => x,
    inverse_exp: (x, k) => -Math.expm1(Math.log1p(-x) / k),
    scaled: (x, k) => x / (x + k * (1 - x)),
    root: (x, k) => x ** (1 / k),
  };

  // The stages of kadam.decay.stages, as pairs [beta1, beta2].
  function stages(beta1, beta2, k, strategy) {
    if (k === 1) return [[beta1, beta2]];
    if (strategy === "meta") return [[beta1, beta2], ...Array(k - 1).fill([0, beta2])];
    const rate = (x) => Math.min(SAME_FOR_EVERY_STAGE[strategy](x, k), BELOW_ONE);
    return Array(k).fill([rate(beta1), rate(beta2)]);
  }

  // ---- Numbers in words, as kadam.advice writes them ----

  function number(x) {
    if (x === Infinity) return "no limit";
    if (x !== 0 && (Math.abs(x) < 1e-4 || Math.abs(x) >= 1e9)) return Number(x.toPrecision(3)).toExponential();
    return Number(x.toPrecision(3)).toLocaleString("en", { maximumFractionDigits: 20 });
  }

  function percent(share) {
    if (share > 0 && share < 1e-6) return `${(100 * share).toPrecision(2)}%`;
    const least = Math.min(share, 1 - share) || 1;
    return `${(100 * share).toFixed(Math.max(0, -Math.floor(Math.log10(least)) - 1))}%`;
  }

  // Three digits of what a rate lacks to 1, or of itself where it is small.
  function rate(x) {
    return String(x > 0.5 ? Number(x.toFixed(Math.min(17, 2 - Math.floor(Math.log10(1 - x))))) : Number(x.toPrecision(3)));
  }

  // beta1^2, never below it and on its side of beta2, with as few digits as that takes.
  function edgeInWords(beta, gamma) {
    const edge = gamma * gamma;
    for (let digits = 3 - Math.floor(Math.log10(Math.min(edge, 1 - edge))); digits < 20; digits++) {
      let shown = Number(edge.toFixed(digits));
      if (shown < edge) shown = Number((edge + 10 ** -digits).toFixed(digits));
      if (shown < beta === isStable(beta, gamma)) return String(shown);
    }
    return String(edge);
  }

  // ---- What is said of a pair ----

  function verdict(beta, gamma) {
    if (isStable(beta, gamma)) {
      const narrow = isStable(beta, gamma, paperEdge(gamma)) ? "" : " It lies outside the paper's narrower region, C > 0.";
      return `Stable. No gradients make a step longer than ${number(largestUpdate(beta, gamma))} learning rates.${narrow}`;
    }
    const each = growthRate(beta, gamma);
    const speed = each === Infinity ? "without any limit"
      : each === 0 ? "like the square root of the number of steps" : `by a factor e every ${number(1 / each)} steps`;
    const choose = `Choose beta2 above beta1² = ${edgeInWords(beta, gamma)}.`;
    return `UNSTABLE. Where gradients shrink, updates can grow ${speed}. ${choose}`;
  }

  // What a pair deserves to be told besides; `common`: the pairs that people use, as [beta1, beta2, name].
  function remark({ beta1, beta2, k, strategy }, common) {
    const [gamma, beta] = stages(beta1, beta2, k, strategy).at(-1);
    const twin = common.find(([one, two]) => one === beta2 && two === beta1);
    if (beta1 > beta2 && (twin || (beta2 > 0 && !isStable(beta, gamma)))) {
      const meant = `(${beta2}, ${beta1})${twin ? `, ${twin[2]}` : ""}`;
      return `The order is PyTorch's, momentum first. Did you mean ${meant}? That pair is stable.`;
    }
    if (k > 1) return "";
    if (beta1 === 0 && beta2 === 0) return "This is SignSGD: a step is the gradient's sign times the learning rate.";
    const rmsprop = "This is RMSprop with Adam's bias correction: no momentum. The longest step follows a long silence.";
    if (beta1 === 0) return rmsprop;
    return beta1 === beta2 ? "These are equal betas: no step is longer than one learning rate." : "";
  }

  // What the list of numbers shows, by its rows' names. Of usual gradients the theory knows one stage only.
  function numbers(n, beta, gamma, k) {
    const C = coefficient(beta, gamma), silence = criticalSilence(beta, gamma), within = maxUpdateBound(n, beta, gamma);
    const alone = (words) => (k === 1 ? words : "known for one stage only");
    return {
      region: isStable(beta, gamma, paperEdge(gamma)) ? "inside both"
        : isStable(beta, gamma) ? "inside, outside the paper's" : "outside both",
      C: Number.isFinite(C) ? number(C) : C > 0 ? "infinity" : "−infinity",
      growth: `${number(growthRate(beta, gamma))} (the paper's: ${number(paperGrowthRate(beta, gamma))})`,
      within: within === Infinity && beta > 0 ? "> 1e308" : number(within),
      ever: number(largestUpdate(beta, gamma)),
      typical: alone(number(typicalUpdate(gamma))),
      rms: alone(number(largestRms(beta, gamma))),
      silence: alone(silence === 1 ? "never" : `${percent(silence)} of steps`),
    };
  }

  // ---- Maps from numbers to places in a drawing ----

  const SIDE = 300, DECADES = 4; // the plane's side, and how many decades of 1 - rate lie along it
  const HEIGHT = 150; // of the drawings over iterations
  const TOP = 1e6; // what is larger leaves a drawing
  const decades = (x) => Math.min(-Math.log10(1 - x), DECADES);
  const rateAt = (d) => Number((1 - Number((10 ** -d).toPrecision(3))).toFixed(DECADES + 3));
  const across = (x) => (decades(x) / DECADES) * SIDE;
  const line = (points) => points.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" ");

  function edgeLine(edge) {
    const gammas = Array.from({ length: 201 }, (_, i) => 1 - 10 ** ((-i / 200) * DECADES));
    return line(gammas.map((gamma) => [across(gamma), SIDE - across(edge(gamma))]));
  }

  // From a positive number to its height between the decades that hold all of `values`, as far as they are drawn.
  function logAxis(values) {
    const drawn = values.filter((y) => y > 0 && y <= TOP);
    const low = Math.floor(Math.log10(0.8 * Math.min(1, ...drawn)));
    const high = Math.max(Math.ceil(Math.log10(1.1 * Math.max(1, ...drawn))), low + 1);
    return { low, high, place: (y) => HEIGHT - ((Math.log10(y) - low) / (high - low)) * HEIGHT };
  }

  // The places of what is drawn of (xs, ys).
  function curve(xs, ys, axis) {
    const points = xs.map((x, i) => [x, ys[i]]).filter(([, y]) => y > 0 && y <= TOP);
    return points.map(([x, y]) => [x, axis.place(y)]);
  }

  const decadeLabel = (power) => (Math.abs(power) < 4 ? Number(`1e${power}`).toLocaleString("en") : `1e${power}`);
  const text = (x, y, words, anchor = "middle") => `<text x="${x}" y="${y}" text-anchor="${anchor}">${words}</text>`;
  const frame = (height, top = 0) => `<rect class="frame" y="${top}" width="${SIDE}" height="${height}"/>`;

  // ---- The page ----

  const STEPS = [10, 30, 100, 300, 1000]; // the iterations that the worst case can be asked for
  const MOST_STAGES = 16;
  const START = { beta1: 0.9, beta2: 0.999, k: 1, strategy: "inverse_exp", n: 100 };
  const ROWS = [
    ["region", "region, and the paper's, C > 0"],
    ["C", "coefficient C"],
    ["growth", "growth rate per step"],
    ["within", "largest update by iteration n"],
    ["ever", "largest update for ever"],
    ["typical", "typical size: random signs, steady sizes"],
    ["rms", "root mean square at most: random signs"],
    ["silence", "at risk if gradients are zero in more than"],
  ];

  function plane(common) {
    const ticks = ["0", "0.9", "0.99", "0.999", "0.9999"].map((words, i) => {
      const at = (i / DECADES) * SIDE;
      return text(at, SIDE + 19, words) + text(-7, SIDE - at + 5, words, "end");
    });
    const exact = edgeLine((gamma) => gamma * gamma);
    const dot = ([beta1, beta2, name]) =>
      `<circle class="common" cx="${across(beta1)}" cy="${SIDE - across(beta2)}" r="3.5"><title>${name}</title></circle>`;
    return `<svg data-part="plane" viewBox="-58 -12 388 356" role="img"
        aria-label="The plane of beta1, to the right, and beta2, upwards, by distance from one. Above the curve is stable.">
      <polygon class="inside" points="0,0 0,${SIDE} ${exact} ${SIDE},0"/>${frame(SIDE)}
      <polyline class="paper" points="${edgeLine(paperEdge)}"/><polyline class="exact" points="${exact}"/>
      ${text(SIDE * 0.2, SIDE * 0.15, "stable", "start")}${text(SIDE * 0.62, SIDE * 0.88, "unstable", "start")}
      ${ticks.join("")}${text(SIDE / 2, SIDE + 40, "beta1")}${text(-52, SIDE / 2 - 20, "beta2", "start")}
      ${common.map(dot).join("")}<g data-part="stages"></g>
      <g data-part="handle" class="handle"><circle r="20" fill="transparent"/><circle class="dot" r="8"/></g></svg>`;
  }

  function rateInput(id, name, role) {
    const typed = `type="text" inputmode="decimal" autocomplete="off" aria-describedby="${id}-wrong"`;
    return `<div class="rate"><label for="${id}-${name}">${name}, ${role}</label>
      <input id="${id}-${name}" data-part="${name}" ${typed}>
      <input type="range" min="0" max="${DECADES}" step="0.05" data-part="${name}-slider" aria-label="${name}, slider"></div>`;
  }

  function settings(id, strategies) {
    const labelled = (name, words, input) => `<div><label for="${id}-${name}">${words}</label>${input}</div>`;
    const select = (name, values) => {
      const options = values.map((value) => `<option value="${value}">${value.toLocaleString("en")}</option>`);
      return `<select id="${id}-${name}" data-part="${name}">${options.join("")}</select>`;
    };
    const k = `<input type="number" min="1" max="${MOST_STAGES}" id="${id}-k" data-part="k" aria-describedby="${id}-wrong">`;
    return `<div class="settings">${labelled("k", "stages k", k)}
      ${labelled("strategy", "strategy", select("strategy", strategies))}
      ${labelled("n", "iteration n", select("n", STEPS))}</div>`;
  }

  function page(id, common, strategies) {
    const preset = ([, , name], i) =>
      `<label for="${id}-${i}"><input type="radio" name="${id}-preset" id="${id}-${i}"><span>${name}</span></label>`;
    const row = ([name, words]) => `<div><dt>${words}</dt><dd data-part="${name}"></dd></div>`;
    return `<fieldset class="presets"><legend>Pairs that people use</legend>${common.map(preset).join("")}</fieldset>
      <div class="columns"><div>${plane(common)}</div>
      <div class="side">${rateInput(id, "beta1", "of the momentum (γ)")}${rateInput(id, "beta2", "of the second moment (β)")}
        <p class="wrong" id="${id}-wrong" data-part="wrong"></p>${settings(id, strategies)}
        <p class="verdict" data-part="verdict"></p><p data-part="remark"></p>
        <p class="hidden" role="status" data-part="status"></p>
        <dl>${ROWS.map(row).join("")}</dl></div>
      <figure><svg data-part="bounds" viewBox="-58 -10 388 206" role="img" aria-label="Updates over iterations."></svg>
        <figcaption>Updates in learning rates: <span class="key bound">the largest</span><span class="alone">,
          <span class="key rms">root mean square at most</span>, <span class="key typical">typical size</span></span>.
        </figcaption></figure>
      <figure class="wide"><svg data-part="worst" viewBox="-58 -10 388 266" role="img"
          aria-label="The worst gradients, above, and the update that they cause, below."></svg>
        <figcaption><button type="button" data-part="play">Play</button>
          <span data-part="cause"></span></figcaption></figure></div>`;
  }

  function drawBounds(svg, n, beta, gamma, k) {
    const ns = Array.from({ length: 161 }, (_, i) => Math.round(10 ** (i / 40)) - 1);
    const most = ns.map((at) => maxUpdateBound(at, beta, gamma)), rms = ns.map((at) => rmsBound(at, beta, gamma));
    const axis = logAxis([...most, ...(k === 1 ? [...rms, typicalUpdate(gamma)] : [])]);
    const place = (at) => (Math.log10(at + 1) / 4) * SIDE;
    const random = k > 1 ? "" : `<polyline class="rms" points="${line(curve(ns.map(place), rms, axis))}"/>
      <path class="typical" d="M0,${axis.place(typicalUpdate(gamma))}h${SIDE}"/>`;
    const tick = (at) => text(place(at - 1), HEIGHT + 19, at.toLocaleString("en"));
    svg.innerHTML = `${frame(HEIGHT)}${random}<path class="grid" d="M${place(n)},0v${HEIGHT}"/>
      <polyline class="bound" points="${line(curve(ns.map(place), most, axis))}"/>${heights(axis, 0)}
      ${[1, 10, 100, 1000, 10000].map(tick).join("")}${text(SIDE / 2, HEIGHT + 40, "iterations")}`;
  }

  function heights(axis, top) {
    const words = (power, y) => text(-7, y, decadeLabel(power), "end");
    return words(axis.high, top + 10) + words(axis.low, top + HEIGHT);
  }

  // Above: the gradients up to iteration `until`. Below: the update that they cause, with a dot where it is now.
  function drawWorst(svg, gradients, caused, until) {
    const n = gradients.length - 1, above = 70, top = above + 14, axis = logAxis(caused), place = (j) => (j / n) * SIDE;
    const stems = gradients.slice(0, until + 1).map((g, j) => `M${place(j).toFixed(1)},${above}v${(-g * above).toFixed(1)}`);
    const points = curve(gradients.map((_, j) => place(j)).slice(0, until + 1), caused, axis);
    const [x, y] = points.at(-1) ?? [-1000, 0];
    const tick = (j) => text(place(j), top + HEIGHT + 19, j.toLocaleString("en"));
    svg.innerHTML = `${frame(above)}<path class="gradients" d="${stems.join("")}"/>${text(-7, 40, "gradient", "end")}
      ${frame(HEIGHT, top)}<g transform="translate(0 ${top})"><polyline class="bound" points="${line(points)}"/>
      <circle class="now" cx="${x}" cy="${y}" r="4"/>${text(-7, HEIGHT / 2 + 5, "update", "end")}</g>
      ${heights(axis, top)}${tick(0)}${tick(n)}${text(SIDE / 2, top + HEIGHT + 19, "iteration")}`;
  }

  function causeInWords(n, beta, gamma, k, last) {
    const given = k > 1 ? "The worst inputs of the last stage" : "The worst gradients";
    const change = gamma === 0 ? "are silent until the last" : beta === 0 ? "are silent after the first"
      : `change by a factor of ${number(beta / gamma)} a step`;
    return `${given} for iteration ${n.toLocaleString("en")} ${change}. The update then is ${number(last)}.`;
  }

  // ---- The state, in the address ----

  const rateOf = (words) => (/^\s*(\d+\.?\d*|\.\d+)(e-?\d+)?\s*$/i.test(words) && Number(words) < 1 ? Number(words) : null);
  const stagesOf = (words) => (/^\d+$/.test(words) && words >= 1 && words <= MOST_STAGES ? Number(words) : null);

  function fromAddress(strategies) {
    const asked = new URLSearchParams(location.search), one = (list, value) => (list.includes(value) ? value : null);
    const read = {
      beta1: rateOf(asked.get("beta1")), beta2: rateOf(asked.get("beta2")), k: stagesOf(asked.get("k")),
      strategy: one(strategies, asked.get("strategy")), n: one(STEPS, Number(asked.get("n"))),
    };
    return Object.fromEntries(Object.entries(START).map(([name, value]) => [name, read[name] ?? value]));
  }

  function toAddress(state) {
    const asked = new URLSearchParams(location.search);
    for (const [name, value] of Object.entries(state)) asked.set(name, value);
    history.replaceState(history.state, "", `${location.pathname}?${asked}${location.hash}`);
  }

  // ---- One explorer ----

  const REST = 400; // milliseconds without a change, after which the address and what is read aloud follow
  const PLAYED = 2500; // milliseconds that the worst case takes when it is played

  function explore(root, id) {
    const common = JSON.parse(root.dataset.presets), strategies = JSON.parse(root.dataset.strategies);
    root.innerHTML = page(id, common, strategies);
    const part = Object.fromEntries([...root.querySelectorAll("[data-part]")].map((each) => [each.dataset.part, each]));
    const presets = [...root.querySelectorAll(".presets input")];
    let state = fromAddress(strategies), resting = 0, playing = 0;

    function change(some) {
      state = { ...state, ...some };
      show();
      clearTimeout(resting);
      resting = setTimeout(() => {
        toAddress(state);
        part.status.textContent = `${part.verdict.textContent} ${part.remark.textContent}`;
      }, REST);
    }

    function show() {
      const { beta1, beta2, k, strategy, n } = state, [gamma, beta] = stages(beta1, beta2, k, strategy).at(-1);
      const caused = updates(worstCaseGradients(n, beta, gamma), beta, gamma);
      showInputs();
      showPoints();
      for (const [name, words] of Object.entries(numbers(n, beta, gamma, k))) part[name].textContent = words;
      const whose = k > 1 ? `${k}-Adam, whose last stage has betas (${rate(gamma)}, ${rate(beta)}): ` : "";
      part.verdict.textContent = whose + verdict(beta, gamma);
      part.verdict.className = `verdict ${isStable(beta, gamma) ? "verdict-reproduced" : "verdict-not"}`;
      part.remark.textContent = remark(state, common);
      part.cause.textContent = causeInWords(n, beta, gamma, k, caused.at(-1));
      root.classList.toggle("staged", k > 1);
      drawBounds(part.bounds, n, beta, gamma, k);
      play(n);
    }

    function showInputs() {
      for (const name of ["beta1", "beta2"]) {
        if (document.activeElement !== part[name]) part[name].value = state[name];
        part[`${name}-slider`].value = decades(state[name]);
        part[`${name}-slider`].setAttribute("aria-valuetext", state[name]);
      }
      for (const name of ["k", "strategy", "n"]) part[name].value = state[name];
      presets.forEach((input, i) => (input.checked = common[i][0] === state.beta1 && common[i][1] === state.beta2));
    }

    function showPoints() {
      const { beta1, beta2, k, strategy } = state, at = (x, y) => [across(x), SIDE - across(y)];
      const [x, y] = at(beta1, beta2), last = stages(beta1, beta2, k, strategy).at(-1), [toX, toY] = at(...last);
      part.handle.setAttribute("transform", `translate(${x} ${y})`);
      part.handle.classList.toggle("outside", !isStable(last[1], last[0]));
      part.stages.innerHTML = k === 1 ? "" : `<path class="grid" d="M${x},${y}L${toX},${toY}"/>
        <rect class="stage" x="${toX - 6}" y="${toY - 6}" width="12" height="12"><title>the last of ${k} stages</title></rect>`;
    }

    // Draws the worst case up to iteration `until`, and from there on one frame after another.
    function play(until) {
      const { beta1, beta2, k, strategy, n } = state, [gamma, beta] = stages(beta1, beta2, k, strategy).at(-1);
      const gradients = worstCaseGradients(n, beta, gamma), caused = updates(gradients, beta, gamma);
      const begin = performance.now() - (until / n) * PLAYED;
      const draw = (now) => {
        const shown = Math.min(n, Math.max(until, Math.floor(((now - begin) / PLAYED) * n)));
        drawWorst(part.worst, gradients, caused, shown);
        if (shown < n) playing = requestAnimationFrame(draw);
      };
      cancelAnimationFrame(playing);
      draw(begin);
    }

    function typed(name, read, must) {
      const value = read(part[name].value), fine = value !== null;
      part[name].setAttribute("aria-invalid", !fine);
      part.wrong.textContent = fine ? "" : `${name} must ${must}`;
      if (fine) change({ [name]: value });
    }

    function drag(event) {
      const box = part.plane.querySelector(".frame").getBoundingClientRect();
      const along = (share) => rateAt(Math.min(Math.max(share, 0), 1) * DECADES);
      change({ beta1: along((event.clientX - box.left) / box.width), beta2: along((box.bottom - event.clientY) / box.height) });
    }

    for (const name of ["beta1", "beta2"]) {
      part[name].addEventListener("input", () => typed(name, rateOf, "be a number in [0, 1)"));
      part[name].addEventListener("blur", showInputs);
      part[`${name}-slider`].addEventListener("input", (event) => change({ [name]: rateAt(Number(event.target.value)) }));
    }
    part.k.addEventListener("change", () => typed("k", stagesOf, `be a whole number from 1 to ${MOST_STAGES}`));
    part.strategy.addEventListener("change", () => change({ strategy: part.strategy.value }));
    part.n.addEventListener("change", () => change({ n: Number(part.n.value) }));
    presets.forEach((input, i) => input.addEventListener("change", () => change({ beta1: common[i][0], beta2: common[i][1] })));
    part.plane.addEventListener("click", drag);
    part.handle.addEventListener("pointerdown", (event) => part.handle.setPointerCapture(event.pointerId));
    part.handle.addEventListener("pointermove", (event) => part.handle.hasPointerCapture(event.pointerId) && drag(event));
    part.play.addEventListener("click", () => play(0));
    show();
  }

  const theory = {
    coefficient, growthRate, paperGrowthRate, isStable, maxUpdateBound, largestUpdate, rmsBound, largestRms, typicalUpdate,
    criticalSilence, worstCaseGradients, updates, stages, remark, verdict, numbers, rate, edgeInWords,
  };
  window.kadamExplorer = theory; // for whoever wants to compute with it, as the tests do
  document.querySelectorAll(".kadam-explorer:not([data-ready])").forEach((root) => {
    root.dataset.ready = "";
    explore(root, `kadam-explorer-${document.querySelectorAll(".kadam-explorer[data-ready]").length}`);
  });
})();
