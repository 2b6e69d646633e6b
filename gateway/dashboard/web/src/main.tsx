// START. Feed -> connection.ts (link.ts) -> parse.ts -> store.ts (state.ts, trace.ts) -> views/, chart.ts

import { render } from "preact";
import "./style.css";
import { start } from "./store.ts";
import { App } from "./views/app.tsx";

start();
render(<App />, document.getElementById("page")!);
