"""Reads Kubernetes manifests, checks each against the schema of a Kubernetes version, and prints them as JSON.

`kubernetes_steps.py VERSION FILE...`; properties that the schema does not have are mistakes.
"""

import json
import sys

import kubernetes_validate
import yaml

version, files = sys.argv[1], sys.argv[2:]
documents = []
for file in files:
    with open(file) as text:
        for document in yaml.safe_load_all(text):
            if "kustomize" not in document["apiVersion"]:
                try:
                    kubernetes_validate.validate(document, version, strict=True)
                except kubernetes_validate.ValidationError as error:
                    sys.exit(f"{file}: {error.message}")
            documents.append(document)
json.dump(documents, sys.stdout)
