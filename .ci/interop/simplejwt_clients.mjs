// Clients of SimpleJWT backends, set up as their documentation says.
//
// Arguments: the URL of the server, an address, a password, the name of a client below, and how many
// seconds it reads its profile for. It then logs out. Writes what it saw, as JSON: the status of each
// profile and the second at which it came, how often it refreshed, and what came after the logout.

import { createRequire } from "node:module";
import { setTimeout as wait } from "node:timers/promises";

const stored = new Map();
const storage = {
  getItem: (name) => stored.get(name) ?? null,
  setItem: (name, value) => void stored.set(name, String(value)),
  removeItem: (name) => void stored.delete(name),
};
Object.defineProperty(globalThis, "localStorage", { value: storage });
globalThis.window = { localStorage: storage };

const require = createRequire(`${process.env.LATCHKEY_TEST_NODE_DIRECTORY}/`);
const axios = require("axios");
const { createAuthRefresh } = require("axios-auth-refresh");
const { applyAuthTokenInterceptor, clearAuthTokens, getRefreshToken, setAuthTokens } = require("axios-jwt");

const [url, email, password, name, seconds] = process.argv.slice(2);
let refreshes = 0;

async function refreshed(refresh) {
  refreshes += 1;
  return (await axios.post(`${url}/api/token/refresh/`, { refresh })).data;
}

function authRefresh(keeps) {
  const api = axios.create({ baseURL: url });
  api.interceptors.request.use((request) => {
    request.headers.Authorization = `Bearer ${localStorage.getItem("access")}`;
    return request;
  });
  createAuthRefresh(api, async (failed) => {
    const tokens = await refreshed(localStorage.getItem("refresh"));
    keeps.forEach((token) => localStorage.setItem(token, tokens[token]));
    failed.response.config.headers.Authorization = `Bearer ${tokens.access}`;
  });
  return {
    api,
    keep: (tokens) => ["access", "refresh"].forEach((token) => localStorage.setItem(token, tokens[token])),
    refreshToken: () => localStorage.getItem("refresh"),
    forget: () => stored.clear(),
  };
}

function axiosJwt(taken) {
  const api = axios.create({ baseURL: url });
  const requestRefresh = async (refresh) => taken(await refreshed(refresh));
  applyAuthTokenInterceptor(api, { requestRefresh });
  return {
    api,
    keep: ({ access, refresh }) => setAuthTokens({ accessToken: access, refreshToken: refresh }),
    refreshToken: getRefreshToken,
    forget: clearAuthTokens,
  };
}

const client = {
  "axios-auth-refresh, storing both": () => authRefresh(["access", "refresh"]),
  "axios-auth-refresh, storing access": () => authRefresh(["access"]),
  "axios-jwt, storing both": () => axiosJwt((tokens) => ({ accessToken: tokens.access, refreshToken: tokens.refresh })),
  "axios-jwt, storing access": () => axiosJwt((tokens) => tokens.access),
}[name]();

const status = async (asking) => {
  try {
    return (await asking()).status;
  } catch (error) {
    return error.response?.status ?? String(error);
  }
};

await client.keep((await axios.post(`${url}/api/login/`, { email, password })).data);
const began = Date.now();
const profiles = [];
while (Date.now() - began < seconds * 1000) {
  profiles.push([await status(() => client.api.get("/api/profile/")), (Date.now() - began) / 1000]);
  await wait(200);
}
const refresh = await client.refreshToken();
const logout = refresh === null || refresh === undefined ? null : await status(() => axios.post(`${url}/api/logout/`, { refresh }));
const after = refresh === null || refresh === undefined ? null : await status(() => axios.post(`${url}/api/token/refresh/`, { refresh }));
await client.forget();
process.stdout.write(JSON.stringify({ profiles, refreshes, logout, after }));
