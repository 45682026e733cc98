"""The Microsoft hypervisor's hypercall interface, served to real guest code without Hyper-V."""
