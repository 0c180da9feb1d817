// Sends pushes with @parse/node-apn as told on standard input, and prints what the library made of the answers.
const { readFileSync } = require('node:fs');
const apn = require(process.argv[2]);

const told = JSON.parse(readFileSync(0, 'utf8'));

async function main() {
  const results = [];
  for (const { provider, pushes } of told) {
    if (provider.pfxData) provider.pfxData = Buffer.from(provider.pfxData, 'base64');
    const connection = new apn.Provider(provider);
    for (const { token, note, times } of pushes) {
      const notification = new apn.Notification();
      Object.assign(notification, note);
      const sent = await Promise.all(Array.from({ length: times || 1 }, () => connection.send(notification, token)));
      results.push({
        sent: sent.reduce((sum, one) => sum + one.sent.length, 0),
        failed: sent.flatMap((one) => one.failed).map(({ status, response, error }) =>
          ({ status, response, error: error && error.message })),
      });
    }
    await connection.shutdown();
  }
  console.log(JSON.stringify(results));
}

main();
