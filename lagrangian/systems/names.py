"""The names of the ready-made systems, which the shell knows without SymPy."""

#: By name, the file that has the function; that has `_` for `-` in its name.
FILES = {
    "double-pendulum": "pendulums",
    "n-pendulum": "pendulums",
    "spherical-pendulum": "pendulums",
    "foucault-pendulum": "pendulums",
    "rotating-hoop": "pendulums",
    "elastic-pendulum": "pendulums",
    "kepler": "celestial",
    "three-body": "celestial",
    "henon-heiles": "celestial",
    "toda-chain": "chains",
    "fput-chain": "chains",
    "charged-particle": "particles",
    "relativistic-particle": "particles",
    "van-der-pol": "particles",
    "heavy-top": "tops",
}


def function(name: str) -> str:
    """What the function of a system is called."""
    return name.replace("-", "_")
