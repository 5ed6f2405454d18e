"""The steps that the cases make with oras: `oras_steps.py STEP ARGUMENTS`, both ways JSON.

Each is a call of the library as its documentation shows it, but for `attach`: the library pushes no artifact type, so
the manifest is put together here and goes through the library's session.
"""

import hashlib
import json
import sys

import oras.client
import oras.oci

EMPTY = {
    "mediaType": "application/vnd.oci.empty.v1+json",
    "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
    "size": 2,
}


def push(client, target, files, annotations, chunked):
    client.push(
        target=target,
        files=files,
        manifest_annotations=annotations,
        do_chunked=chunked,
        chunk_size=30_000,
    )
    return {}


def pull(client, target):
    return client.pull(target=target, outdir=".")


def manifest(client, target):
    return client.get_manifest(target)


def tags(client, target):
    return client.get_tags(target)


def attach(client, target, file, artifact_type, annotations, subject):
    container = client.get_container(target)
    with open("empty", "w") as empty:
        empty.write("{}")
    layer = oras.oci.NewLayer(file, media_type="application/octet-stream")
    for path, blob in (("empty", EMPTY), (file, layer)):
        client.upload_blob(path, container, blob).raise_for_status()
    body = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "artifactType": artifact_type,
            "config": EMPTY,
            "layers": [layer],
            "subject": subject,
            "annotations": annotations,
        }
    ).encode()
    answer = client.do_request(
        f"{client.prefix}://{container.manifest_url()}",
        "PUT",
        headers={"Content-Type": "application/vnd.oci.image.manifest.v1+json"},
        data=body,
    )
    answer.raise_for_status()
    return {
        "digest": "sha256:" + hashlib.sha256(body).hexdigest(),
        "subject": answer.headers.get("OCI-Subject"),
    }


STEPS = {step.__name__: step for step in (push, pull, manifest, tags, attach)}

if __name__ == "__main__":
    step, arguments = sys.argv[1], json.loads(sys.argv[2])
    client = oras.client.OrasClient(insecure=True)
    print(json.dumps(STEPS[step](client, **arguments)))
