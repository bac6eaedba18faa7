// Makes the first MEMBERS pods of the StatefulSet one replica set and gives the services their user. Every step looks at
// what is there, so that it can be run again: after a crash, with more members, or with another password.
const fs = require("fs");

const secret = (name) => fs.readFileSync(`/secrets/${name}`, "utf8").trim();
const host = (member) => `mongodb-${member}.mongodb:27017`;
const members = Number(process.env.MEMBERS);
const login = `root:${encodeURIComponent(secret("root_password"))}`;
const options = process.env.MONGO_OPTIONS || "";

const first = new Mongo(`mongodb://${login}@${host(0)}/admin?directConnection=true${options}`).getDB("admin");

function current() {
  try {
    return first.runCommand({ replSetGetConfig: 1 }).config;
  } catch (error) {
    if (error.codeName === "NotYetInitialized") return null;
    throw error;
  }
}

function until(what, holds) {
  for (let second = 0; second < 120; second++) {
    if (holds()) return;
    sleep(1000);
  }
  throw new Error(`waited two minutes for ${what}`);
}

let config = current();
if (config === null) {
  first.runCommand({ replSetInitiate: { _id: "rs0", members: [{ _id: 0, host: host(0) }] } });
  until("the first member to be primary", () => first.hello().isWritablePrimary);
  config = current();
}

const set = new Mongo(`mongodb://${login}@${config.members.map((one) => one.host).join()}/admin?replicaSet=rs0${options}`);
const admin = set.getDB("admin");
for (let member = 0; member < members; member++) {
  if (config.members.some((one) => one.host === host(member))) continue;
  // One at a time, as MongoDB asks; the next one when this one has a copy.
  config.members.push({ _id: 1 + Math.max(...config.members.map((one) => one._id)), host: host(member) });
  config.version += 1;
  admin.runCommand({ replSetReconfig: config });
  until(`${host(member)} to follow`, () =>
    admin.runCommand({ replSetGetStatus: 1 }).members.some((one) => one.name === host(member) && [1, 2].includes(one.state))
  );
  config = admin.runCommand({ replSetGetConfig: 1 }).config;
}

const user = { pwd: secret("app_password"), roles: [{ role: "readWrite", db: "earmark" }] };
const earmark = set.getDB("earmark");
if (earmark.getUser("earmark") === null) earmark.createUser({ user: "earmark", ...user });
else earmark.updateUser("earmark", user);
print(`replica set rs0 has ${config.members.length} members`);
