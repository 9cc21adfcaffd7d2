// Browsers start no Worker for a page that is opened from the file system, and the theme's search needs one: there,
// the worker's script runs in a hidden frame. The theme resolves addresses in it where the page has an IFrameWorker.
if (location.protocol === "file:") {
  const loaded = (inside, address) => new Promise((resolve, reject) => {
    const script = inside.document.createElement("script");
    Object.assign(script, { src: address, onload: resolve, onerror: reject });
    inside.document.head.append(script);
  });

  class FrameWorker extends EventTarget {
    constructor(address) {
      super();
      const frame = document.createElement("iframe");
      this.started = new Promise((resolve, reject) => {
        frame.onload = () => {
          const inside = frame.contentWindow;
          inside.postMessage = data => setTimeout(() => this.dispatchEvent(new MessageEvent("message", { data })));
          inside.importScripts = (...addresses) =>
            addresses.reduce((before, next) => before.then(() => loaded(inside, next)), Promise.resolve());
          loaded(inside, address).then(() => resolve(inside), reject);
        };
      });
      Object.assign(frame, { hidden: true, srcdoc: "<!doctype html><title>search</title>" });
      document.body.append(frame);
    }

    postMessage(data) {
      this.started.then(inside => inside.dispatchEvent(new MessageEvent("message", { data })));
    }
  }

  window.Worker = window.IFrameWorker = FrameWorker;
}
