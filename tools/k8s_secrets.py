"""Prints the Secrets that the manifests ask for, with new random values, for `kubectl apply -f -`; keeps nothing.

    python tools/k8s_secrets.py --namespace earmark | kubectl apply -f -
    python tools/k8s_secrets.py --only earmark-mongodb --external-mongodb 'mongodb+srv://…' | kubectl apply -f -

Run it once for a new mesh; `--only` makes one anew (docs/operations.md says how each is rotated).
"""

from __future__ import annotations

import argparse
import base64
import secrets
import sys

import yaml

MEMBERS = 3
NAMES = ("earmark-access", "earmark-nats", "earmark-mongodb", "earmark-redis")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--namespace", default="earmark", help="where the mesh is (earmark)")
    parser.add_argument("--only", choices=NAMES, action="append", help="this Secret only; may be given again")
    parser.add_argument("--external-mongodb", metavar="URL", help="with components/external-mongodb: its URL")
    parser.add_argument("--external-nats-token", metavar="TOKEN", help="with components/external-nats: its token")
    parser.add_argument("--tls", action="store_true", help="with components/mtls: MongoDB is spoken to in TLS")
    asked = parser.parse_args()
    made = make(mongo_url=asked.external_mongodb, nats_token=asked.external_nats_token, tls=asked.tls)
    yaml.safe_dump_all(
        [
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": name, "namespace": asked.namespace},
                "type": "Opaque",
                "stringData": values,
            }
            for name, values in made.items()
            if name in (asked.only or NAMES)
        ],
        sys.stdout,
        sort_keys=False,
        width=10_000,
    )


def make(
    *, mongo_url: str | None = None, nats_token: str | None = None, tls: bool = False
) -> dict[str, dict[str, str]]:
    """The Secrets by name, each with its keys.

    Args:
        mongo_url: URL of a MongoDB that is run elsewhere, with its password.
        nats_token: Token of a NATS that is run elsewhere.
        tls: Whether the members of the replica set speak TLS (components/mtls).
    """
    token, password = nats_token or secrets.token_hex(32), secrets.token_hex(32)
    hosts = ",".join(f"mongodb-{member}.mongodb:27017" for member in range(MEMBERS))
    encrypted = "&tls=true&tlsCAFile=/run/earmark/tls/ca.crt" if tls else ""
    own_url = f"mongodb://earmark:{password}@{hosts}/earmark?replicaSet=rs0&journal=true{encrypted}"
    mongodb = {"earmark_mongo_url": mongo_url or own_url}
    if mongo_url is None:
        mongodb |= {
            "keyfile": base64.b64encode(secrets.token_bytes(756)).decode(),
            "root_password": secrets.token_hex(32),
            "app_password": password,
        }
    redis, member = secrets.token_hex(32), secrets.token_hex(32)
    routes = f'authorization {{ user: server, password: "{member}" }}\nroutes: [\n'
    routes += (
        "".join(f"  nats-route://server:{member}@nats-{ordinal}.nats:6222\n" for ordinal in range(MEMBERS)) + "]\n"
    )
    return {
        "earmark-access": {"earmark_admin_key": secrets.token_hex(32), "earmark_url_secret": secrets.token_hex(32)},
        "earmark-nats": {
            "earmark_nats_token": token,
            "auth.conf": f'authorization {{ token: "{token}" }}\n',
            "routes.conf": routes,
        },
        "earmark-mongodb": mongodb,
        # Of use with components/redis alone.
        "earmark-redis": {
            "earmark_search_cache_url": f"redis://:{redis}@redis:6379/0",
            "redis.conf": f'requirepass "{redis}"\n',
        },
    }


if __name__ == "__main__":
    main()
