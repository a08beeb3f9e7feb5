"""Convert a DeepSeek safetensors checkpoint to quantized GGUF files in a single pass.

The headers are read first, and the whole output is laid out from them. Then workers read,
dequantize, quantize and write a few rows at a time. So a conversion needs no torch and no
intermediate file, and its memory does not grow with the model. The package knows safetensors and
GGUF; it does not know chats, terminals or the network (it is handed a :class:`Source` that opens
shards by name)::

    checkpoint = open_checkpoint(FolderSource(folder))
    plan = plan_conversion(checkpoint, [recipe_named("Q4_K_M")])
    write_gguf(plan, [Path("model.gguf")])
"""

from dslocal.gguf import libraries
from dslocal.types import FileRange

libraries.require()  # before numpy, see there

from .checkpoint.checkpoint import (  # noqa: E402
    Checkpoint,
    open_checkpoint,
    require_convertible,
)
from .checkpoint.refusals import config_error, other_form_error  # noqa: E402
from .checkpoint.source import FolderSource, Source  # noqa: E402
from .checkpoint_mapping import has_mtp_layer  # noqa: E402
from .conversion_plan import ConversionPlan, PlannedOutput  # noqa: E402
from .executor import (  # noqa: E402
    ConversionProgress,
    ConversionReport,
    ProgressCallback,
    write_gguf,
)
from .outline import checkpoint_bytes, header_from_config, requires_imatrix  # noqa: E402
from .output.layout import Split, file_names  # noqa: E402
from .plan_conversion import plan_conversion  # noqa: E402
from .recipes.by_name import RECIPES, recipe_named  # noqa: E402
from .recipes.imatrix import Imatrix, load_imatrix  # noqa: E402
from .recipes.imatrix_coverage import expected_imatrix  # noqa: E402
from .recipes.recipe import Recipe  # noqa: E402
from .recipes.recipe_file import load_recipe  # noqa: E402
from .recipes.size_target import SizedRecipe  # noqa: E402
from .requantization.gguf_model import GgufModel, open_gguf  # noqa: E402
from .requantization.planning import plan_requantization  # noqa: E402
from .verify import TensorClassRmse, verify  # noqa: E402
from .vocabulary_file import write_vocabulary  # noqa: E402

__all__ = [
    "RECIPES",
    "Checkpoint",
    "ConversionPlan",
    "ConversionProgress",
    "ConversionReport",
    "FileRange",
    "FolderSource",
    "GgufModel",
    "Imatrix",
    "PlannedOutput",
    "ProgressCallback",
    "Recipe",
    "SizedRecipe",
    "Source",
    "Split",
    "TensorClassRmse",
    "checkpoint_bytes",
    "config_error",
    "expected_imatrix",
    "file_names",
    "has_mtp_layer",
    "header_from_config",
    "load_imatrix",
    "load_recipe",
    "open_checkpoint",
    "open_gguf",
    "other_form_error",
    "plan_conversion",
    "plan_requantization",
    "recipe_named",
    "require_convertible",
    "requires_imatrix",
    "verify",
    "write_gguf",
    "write_vocabulary",
]
