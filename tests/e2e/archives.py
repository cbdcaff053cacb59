"""Tars, digests and archives of images, made in memory."""

import hashlib
import io
import json
import tarfile


def sha(data):
    return hashlib.sha256(data).hexdigest()


def digest_of(data):
    return "sha256:" + sha(data)


def tar_of(files):
    """Of names and contents, bytes or text; pairs where a name is to be there twice."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items() if isinstance(files, dict) else files:
            data = content.encode() if isinstance(content, str) else content
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def docker_archive(name, layers, **config):
    """As docker save writes it, of an image of these layers (tars)."""
    document = json.dumps(
        {"os": "linux", **config, "rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]}}
    ).encode()
    files = {f"{number}/layer.tar": layer for number, layer in enumerate(layers)}
    manifest = [{"Config": f"{sha(document)}.json", "RepoTags": [name], "Layers": list(files)}]
    return tar_of({f"{sha(document)}.json": document, **files, "manifest.json": json.dumps(manifest)})
