"""Detector and operating point as one portable ONNX graph; what is evaluated is what is registered and served.

The graph takes uint8 images (N, 1, H, W) of any size and answers `score`, `p_value`, `probability`,
`abnormal`, `deferred` and `in_domain`, each (N,). It needs neither torch nor this project, and holds no pickle.
"""
