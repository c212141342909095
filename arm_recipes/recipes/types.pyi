# Made by `python docs/generate.py` from catalog.py.
from enum import Enum

from executorch.export import RecipeType

BACKEND_NAME: str

class ArmRecipeType(RecipeType, Enum):
    ETHOSU_U55_INT8 = "arm_ethosu_u55_int8"
    ETHOSU_U55_A16W8 = "arm_ethosu_u55_a16w8"
    ETHOSU_U65_INT8 = "arm_ethosu_u65_int8"
    ETHOSU_U65_A16W8 = "arm_ethosu_u65_a16w8"
    ETHOSU_U85_INT8 = "arm_ethosu_u85_int8"
    ETHOSU_U85_A16W8 = "arm_ethosu_u85_a16w8"
    TOSA_FP = "arm_tosa_fp"
    TOSA_INT8 = "arm_tosa_int8"
    TOSA_A16W8 = "arm_tosa_a16w8"
    VGF_FP = "arm_vgf_fp"
    VGF_INT8 = "arm_vgf_int8"
    VGF_A16W8 = "arm_vgf_a16w8"
    CORTEX_M0_INT8 = "arm_cortex_m0_int8"
    CORTEX_M0PLUS_INT8 = "arm_cortex_m0plus_int8"
    CORTEX_M3_INT8 = "arm_cortex_m3_int8"
    CORTEX_M4_INT8 = "arm_cortex_m4_int8"
    CORTEX_M7_INT8 = "arm_cortex_m7_int8"
    CORTEX_M23_INT8 = "arm_cortex_m23_int8"
    CORTEX_M33_INT8 = "arm_cortex_m33_int8"
    CORTEX_M35P_INT8 = "arm_cortex_m35p_int8"
    CORTEX_M55_INT8 = "arm_cortex_m55_int8"
    CORTEX_M85_INT8 = "arm_cortex_m85_int8"
    @classmethod
    def get_backend_name(cls) -> str: ...
