// Draws the charts of each piece, and hands what the reader moves to them.
for (const piece of document.querySelectorAll(".interactive:not([data-drawn])")) {
  piece.dataset.drawn = "";
  const played = piece.querySelector(".played");
  const controls = [...played.querySelectorAll("[data-signal]")];
  const charts = [...played.querySelectorAll(".chart")];
  const specs = charts.map((chart) => JSON.parse(chart.dataset.spec));
  played.hidden = false;
  Promise.all(
    charts.map((chart, place) =>
      vegaEmbed(chart, specs[place], {
        mode: "vega-lite",
        renderer: "svg",
        actions: false,
        tooltip: false,
      }),
    ),
  ).then(
    (drawn) => {
      const words = (chart) =>
        [...chart.querySelectorAll(".mark-text.role-mark text")].map((text) => text.textContent);
      const readOut = () => {
        const said = charts.flatMap((chart, place) => {
          const about = specs[place].description;
          return about ? [`${about}: ${words(chart).join("; ")}.`] : [];
        });
        played.querySelector("[aria-live]").textContent = said.join(" ");
      };
      const show = () => {
        for (const control of controls) {
          const output = control.parentElement.querySelector("output");
          if (output) output.value = control.value + output.dataset.unit;
          for (const { view } of drawn) view.signal(control.dataset.signal, Number(control.value));
        }
        Promise.all(drawn.map(({ view }) => view.runAsync())).then(readOut);
      };
      const choose = (_, item) => {
        // A line has the values of its first point.
        if (!item || item.mark.marktype === "line") return;
        for (const control of controls) control.value = item.datum[control.dataset.signal] ?? control.value;
        show();
      };
      for (const { view } of drawn) view.addEventListener("click", choose);
      played.addEventListener("input", show);
      show();
    },
    (error) => {
      played.hidden = true;
      console.error(error);
    },
  );
}
