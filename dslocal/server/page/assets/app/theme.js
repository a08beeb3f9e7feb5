// Sets the theme before anything is drawn. A classic script, since modules run after the first paint.
(() => {
  "use strict";
  try {
    const theme = localStorage.getItem("dslocal.theme");
    if (theme === "light" || theme === "dark") {
      document.documentElement.dataset.theme = theme;
    }
  } catch {
    // Storage is refused: the system's theme is used.
  }
})();
