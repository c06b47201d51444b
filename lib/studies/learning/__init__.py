"""How networks are trained: the loop, devices and precision, shared networks, backbones."""
