// Tables of gelu; made by tools/gelu_coefficients.py, see gelu_double.h and gelu_float.h for what they are.
#pragma once

#include "simd/vec.h"

FASTNORM_TARGET_BEGIN

// R(t) (t + 4) as powers of q = (t - 4)/(t + 4), t in [0, 38.8].
constexpr double mills_series[] = {
    0x1.82b4bb8c94dcep-1,
    -0x1.373e3a893c28ap-1,
    0x1.8c6dbf2cfc2b2p-2,
    -0x1.7dff2bff683a5p-3,
    0x1.eec4cc3e4d693p-5,
    -0x1.ee2761047ca85p-8,
    -0x1.c81719d5a3141p-9,
    0x1.ab825fc07589ap-10,
    0x1.17a4ae708480cp-13,
    -0x1.e4a4254c971cbp-13,
    -0x1.001ebba8712e7p-19,
    0x1.26d0968531442p-15,
    0x1.80b8c0bd618a9p-21,
    -0x1.8d4ac14bf8737p-18,
    -0x1.51f769eb94a85p-21,
    0x1.1232a27fe7b52p-20,
    0x1.237d756479482p-22,
    -0x1.4caef1201b8a4p-23,
    -0x1.6d3805cd5be05p-24,
    0x1.c9bef2c1e7e20p-27,
    0x1.4cf85fa8955ddp-26,
    0x1.fb609733e251ap-30,
    -0x1.519f61b95e1dap-29,
    -0x1.7edc8181fc7b5p-31,
};
// What is missing from the first three.
constexpr double mills_series_low[] = {-0x1.a3a7f90183babp-56, -0x1.5275ebcb6b81fp-57, -0x1.ecf7fe7f07092p-62};
// The same for t in [0, 14.7].
constexpr double mills_series_short[] = {
    0x1.82b4bb8c91a41p-1,
    -0x1.373e3a8ba4a5cp-1,
    0x1.8c6dbf2dffaddp-2,
    -0x1.7dff2a1289089p-3,
    0x1.eec4d0bef195bp-5,
    -0x1.ee2ad66a099adp-8,
    -0x1.c81ec85528c59p-9,
    0x1.abd0c446907c4p-10,
    0x1.1ba763505fdaap-13,
    -0x1.e9ac15fea9776p-13,
    -0x1.14ed9356b61b2p-17,
    0x1.20f36292d0897p-15,
    0x1.07c153e2e4524p-17,
};
// U(t) as powers of q, t in [0, 38.8].
constexpr double slope_series[] = {
    0x1.d94de78425463p-2,
    -0x1.a763001ac67ddp-4,
    0x1.ef4ff8013799dp-5,
    -0x1.cc1e2623d923ap-6,
    0x1.37754d816ba15p-7,
    -0x1.d4c8222aa22b3p-10,
    -0x1.443f63e10a369p-13,
    0x1.85999c2dba430p-13,
    -0x1.2538127d589d6p-16,
    -0x1.2e93807896292p-16,
    0x1.dafc0151b2c78p-19,
    0x1.298772ba34ef0p-19,
    -0x1.083e385066d08p-21,
    -0x1.77329a381f7e3p-22,
    0x1.c2573b0d5bae9p-25,
    0x1.1012b40010513p-24,
    -0x1.a2e9789239338p-31,
    -0x1.8827e17c8f0f1p-27,
    -0x1.e5586df20a92dp-30,
    0x1.d2df8384a8557p-30,
    0x1.31d300c42b104p-31,
    -0x1.3f2d753804e42p-33,
    -0x1.3749dd1803238p-34,
};
constexpr double slope_series_low[] = {-0x1.b63e07844f506p-58, -0x1.6c750dbc82bdap-60, -0x1.2920e89fbfb9ap-62};
// The same for t in [0, 14.7].
constexpr double slope_series_short[] = {
    0x1.d94de78421fddp-2,
    -0x1.a763001d4d8e2p-4,
    0x1.ef4ff80ef648cp-5,
    -0x1.cc1e242181b7bp-6,
    0x1.37754a6ce3525p-7,
    -0x1.d4c9fab7de1c7p-10,
    -0x1.4441725cc09b4p-13,
    0x1.85f358003d2cbp-13,
    -0x1.231bbf45c4804p-16,
    -0x1.35b95f5a3730dp-16,
    0x1.8f96a779aa4e5p-19,
    0x1.4d21fd10813f8p-19,
    0x1.28466845ad5e6p-22,
};

FASTNORM_TARGET_END
