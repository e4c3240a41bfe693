// Runs before the first paint, so that a chosen theme or language does not flash.
(function () {
    "use strict";
    var root = document.documentElement;
    try {
        var saved = JSON.parse(localStorage.getItem("deepseek-vl.look") || "{}");
        if (saved.theme === "light" || saved.theme === "dark") root.dataset.theme = saved.theme;
        root.lang = saved.language || (/^zh/i.test(navigator.language) ? "zh" : "en");
    } catch (error) {
        root.lang = "en";
    }
})();
