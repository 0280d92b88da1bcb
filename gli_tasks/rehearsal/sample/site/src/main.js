// the build puts the values of .env.production here
const settings = import.meta.env;
document.getElementById("app").textContent = `Sample site ${settings.VITE_APP_VERSION ?? "unknown"}`;
