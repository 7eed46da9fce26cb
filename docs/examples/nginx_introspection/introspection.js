// Asks authsvc about the bearer token of a request (RFC 7662), and answers nginx's auth_request: 204, 401 or 503. Any
// doubt refuses. The client's id and secret are in the environment, for which nginx.conf has `env` lines.

const TOKEN = /^bearer +([\w.~+/-]+=*)$/i

async function check(r) {
  const token = TOKEN.exec(r.headersIn.Authorization || '')
  if (!token) {
    r.headersOut['WWW-Authenticate'] = 'Bearer'
    r.return(401)
    return
  }
  try {
    const found = await introspect(token[1])
    if (found.active === true && [].concat(found.aud).includes(process.env.AUDIENCE)) {
      r.headersOut['X-Subject'] = encodeURIComponent(found.sub)
      r.headersOut['X-Scope'] = encodeURIComponent(found.scope)
      r.return(204)
    } else {
      r.headersOut['WWW-Authenticate'] = 'Bearer error="invalid_token"'
      r.return(401)
    }
  } catch (error) {
    r.error(`introspection: ${error.message}`)
    r.return(503)
  }
}

async function introspect(token) {
  const credentials = `${encodeURIComponent(process.env.CLIENT_ID)}:${encodeURIComponent(process.env.CLIENT_SECRET)}`
  const answer = await ngx.fetch(`${process.env.ISSUER}/oauth/introspect`, {
    method: 'POST',
    headers: {
      Authorization: `Basic ${Buffer.from(credentials).toString('base64')}`,
      'Content-Type': 'application/x-www-form-urlencoded',
    },
    body: `token=${encodeURIComponent(token)}`,
  })
  if (answer.status !== 200) throw new Error(`the issuer answered ${answer.status}`)
  return answer.json()
}

export default { check }
