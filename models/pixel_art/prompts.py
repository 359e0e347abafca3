"""What the denoiser is asked for when it is judged. Fixed before it was trained."""

# The reader of figure 1 sees the names; the denoiser is told the words.
NAMING = {
    "hero": "hero",
    "brick wall": "brick wall",
    "grass": "grass floor",
    "water": "deep water",
    "crystal": "crystal wall",
    "book": "book",
    "potion": "potion",
    "scroll": "scroll",
    "axe": "axe",
    "sword": "sword",
    "bow": "bow",
    "shield": "shield",
    "staff": "staff",
    "helmet": "helmet",
    "robe": "robe",
    "gold coins": "gold coin",
    "dragon": "dragon",
    "statue": "stone statue",
    "gateway": "gateway",
    "vine": "vine",
}
SEEDS = range(10)

# The classes of figure 2: kinds of tiles, and what is said to draw one.
CLASSES = {
    "floor": "floor",
    "wall": "wall",
    "water": "water",
    "hero": "hero",
    "book": "book",
    "potion": "potion",
    "sword": "sword",
    "axe": "axe",
    "statue": "statue",
    "gateway": "gateway",
    "vine": "vine",
    "ghost": "ghost",
}

# What the sheets of a training show, a row each.
SHEET = (*NAMING.values(), "animal", "monster", "hero robe red", "elf woman bow")

GUIDANCE = 1.5
STEPS = 24
SOLVER = "euler_ancestral"
