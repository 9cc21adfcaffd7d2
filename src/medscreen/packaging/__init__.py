"""Packaged detectors: detector and operating point as one ONNX graph, which is evaluated, registered and served.

The graph takes uint8 images (N, 1, H, W) of any size and outputs `score`, `p_value`, `probability`,
`abnormal`, `deferred` and `in_domain`, each (N,). It runs without torch and this project, and holds no pickle.
"""
