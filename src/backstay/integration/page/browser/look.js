// Runs before anything is drawn: the looks that were chosen here, otherwise those of the system.
try {
  const chosen = localStorage.getItem("backstay:docintegration:look");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.look = chosen;
} catch { /* no storage: the system's looks */ }
