"""What is true of the small datasets of food that tests write."""

FOOD101 = {  # dish: ids of its images in train and in test
    "caesar_salad": (["9001", "77", "1203"], ["5", "31"]),
    "apple_pie": (["101", "102", "9002"], ["103", "7"]),
    "miso_soup": (["8", "9", "10"], ["11"]),
}
INGREDIENTS101 = {
    "apple_pie": "flour,apple,sugar,Butter",
    "caesar_salad": "lettuce,parmesan_cheese,garlic,lettuce",
    "miso_soup": "miso, tofu,spring onion",
}
RECIPES = [  # lines of Recipes5k's ingredients
    "apple,flour,sugar",
    "romaine_lettuce,anchovy,egg",
    "apple,cinnamon,flour,pastry",
    "lettuce,parmesan,chicken",
    "kale,parmesan",
]
RECIPES5K = {  # part: image and line of its recipe, from 0
    "train": [("caesar_salad/3_kale_caesar.jpg", 4), ("apple_pie/0_classic_pie.jpg", 0)],
    "val": [("caesar_salad/1_caesar.v2.jpg", 1)],
    "test": [("apple_pie/2_spiced_pie.jpg", 2), ("caesar_salad/5_chicken.jpg", 3)],
}
CATEGORIES = {1: "rice", 2: "eels  on rice", 10: "chicken-'n'-egg on rice"}
# category and image: boxes, each with the colour it is filled with; 12 shows two dishes
BOXES = {
    (1, "12"): [((4, 6, 24, 26), (230, 30, 30))],
    (1, "305"): [((0, 0, 16, 16), (30, 200, 40)), ((32, 8, 64, 40), (40, 60, 230))],
    (2, "12"): [((28, 8, 60, 40), (230, 220, 40))],
    (2, "40"): [((48, 32, 90, 70), (200, 60, 200))],  # reaches beyond 64×48 pixels
    (10, "7"): [((-8, -8, 24, 16), (90, 200, 220))],
}
SIDES = (64, 48)
