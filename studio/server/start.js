// A browser that remembers no workflow begins with the first example, not with a graph of models that are not here.
const remembers = Object.keys(localStorage).some((key) => /workflow/i.test(key) && !/^Comfy\.Splash/.test(key));
if (!remembers && !location.search && !location.hash) {
  history.replaceState(null, "", "?template=first_picture&source=varifold");
}
