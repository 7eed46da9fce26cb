// A relying party made of openid-client and jose. It takes one JSON command a line, {"do": ..., ...}, and answers each
// with a line: {"ok": ...}, or {"error": name, "code": ..., "message": ...}.
import { createInterface } from 'node:readline'
import { createRemoteJWKSet, jwtVerify } from 'jose'
import * as oidc from 'openid-client'

let config, flow, keys

const commands = {
  async discover({ issuer, id, secret }) {
    const authentication = secret ? oidc.ClientSecretBasic(secret) : oidc.None()
    config = await oidc.discovery(new URL(issuer), id, undefined, authentication, {
      execute: [oidc.allowInsecureRequests],
    })
    keys = createRemoteJWKSet(new URL(config.serverMetadata().jwks_uri), { cooldownDuration: 0 })
    return config.serverMetadata()
  },
  async start({ redirect_uri, scope, ...more }) {
    flow = { verifier: oidc.randomPKCECodeVerifier(), state: oidc.randomState(), nonce: oidc.randomNonce() }
    const code_challenge = await oidc.calculatePKCECodeChallenge(flow.verifier)
    const { state, nonce } = flow
    const asked = { redirect_uri, scope, code_challenge, code_challenge_method: 'S256', state, nonce, ...more }
    return oidc.buildAuthorizationUrl(config, asked).href
  },
  async finish({ url, max_age }) {
    const checks = { pkceCodeVerifier: flow.verifier, expectedState: flow.state, expectedNonce: flow.nonce, maxAge: max_age }
    const tokens = await oidc.authorizationCodeGrant(config, new URL(url), checks)
    return { ...tokens, claims: tokens.claims() }
  },
  refresh: ({ token }) => oidc.refreshTokenGrant(config, token),
  own: ({ scope }) => oidc.clientCredentialsGrant(config, { scope }),
  userinfo: ({ token, sub }) => oidc.fetchUserInfo(config, token, sub),
  introspect: ({ token }) => oidc.tokenIntrospection(config, token),
  revoke: async ({ token }) => (await oidc.tokenRevocation(config, token)) ?? null,
  logout: ({ hint, redirect_uri, state }) =>
    oidc.buildEndSessionUrl(config, { id_token_hint: hint, post_logout_redirect_uri: redirect_uri, state }).href,
  async verify({ token, audience, typ }) {
    const { payload } = await jwtVerify(token, keys, { issuer: config.serverMetadata().issuer, audience, typ })
    return payload
  },
}

for await (const line of createInterface({ input: process.stdin })) {
  const { do: name, ...given } = JSON.parse(line)
  let answer
  try {
    answer = { ok: await commands[name](given) }
  } catch (error) {
    const { name: kind, code, message } = error
    answer = { error: kind, code: error.error ?? code, message: error.error_description ?? message }
  }
  console.log(JSON.stringify(answer))
}
