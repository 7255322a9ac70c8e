// How Sphinx ranks what is found: as it does by itself, but pages of runs, which lie in folders,
// come after chapters.
var Scorer = {
  score: ([docname, , , , score]) => (docname.includes("/") ? score / 1000 : score),
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
