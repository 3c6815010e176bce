// A client whose types are openapi-typescript's and whose calls are openapi-fetch's.
//
// Arguments: the server's URL, an email address, a password, and the file of the description. Each
// step must succeed; the compiler checks its types.

import createClient from "openapi-fetch";
import type { components, paths } from "./api.d.ts";

declare const process: { argv: string[]; getBuiltinModule(name: "fs"): { readFileSync(path: string): string } };

const [url = "", email = "", password = "", file = ""] = process.argv.slice(2);
const client = createClient<paths>({ baseUrl: url });

function check(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(what);
}

// A browser reads the patterns in either of two modes, and refuses different things in each.
JSON.parse(process.getBuiltinModule("fs").readFileSync(file), (key, value) => {
  if (key === "pattern") for (const mode of ["u", "v"]) new RegExp(value, mode);
  return value;
});

const registration = { email, password, password_confirm: password };
const bad = await client.POST("/api/register/", { body: { ...registration, email: "ann" } });
check(bad.error !== undefined && "email" in bad.error, "the field is named");

const registered = await client.POST("/api/register/", { body: registration });
check(registered.data?.email_status === "sent", "registered");

// No field that may be left out is required by the types.
const credentials: components["schemas"]["Login"] = { email, password };
const login = await client.POST("/api/login/", { body: credentials });
check(login.data?.refresh !== undefined, "logged in");

const bearer = (access: string) => ({ headers: { Authorization: `Bearer ${access}` } });
const profile = await client.GET("/api/profile/", bearer(login.data.access));
check(profile.data?.email === email, "the profile");

const refreshed = await client.POST("/api/token/refresh/", { body: { refresh: login.data.refresh } });
check(refreshed.data?.refresh !== undefined, "refreshed");

const loggedOut = await client.POST("/api/logout/", { body: { refresh: refreshed.data.refresh } });
check(loggedOut.response.status === 204, "logged out");

const refused = await client.GET("/api/profile/", bearer(refreshed.data.access));
check(refused.response.status === 401, "the session has ended");
