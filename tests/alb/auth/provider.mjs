// Serves oidc-provider, a certified OpenID provider, with its development pages for login and consent.
// Usage: node provider.mjs PACKAGE_FOLDER PORT REDIRECT_URI
import { pathToFileURL } from 'node:url';
import { join } from 'node:path';

const [folder, port, redirect] = process.argv.slice(2);
const entry = join(folder, 'node_modules/oidc-provider/lib/index.js');
const { default: Provider } = await import(pathToFileURL(entry));

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{
    client_id: 'edge',
    client_secret: 'a secret with / and : in it',
    redirect_uris: [redirect],
    grant_types: ['authorization_code', 'refresh_token'],
  }],
  pkce: { required: () => true },
  claims: { openid: ['sub'], email: ['email', 'email_verified'] },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, email: `${id}@example.com`, email_verified: true, naïve: 'ü' }),
  }),
  issueRefreshToken: () => true,
  rotateRefreshToken: () => true,
  ttl: { AccessToken: 2, IdToken: 60, RefreshToken: 600, Session: 600, Grant: 600, Interaction: 600 },
  cookies: { keys: ['not a secret'] },
});
provider.on('server_error', (_, error) => console.error(error));
provider.listen(Number(port), '127.0.0.1', () => console.log('ready'));
