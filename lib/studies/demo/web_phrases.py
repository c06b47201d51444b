"""Phrases of people who upload photographs of food; `web` fills them."""

NAMED = (
    *("{name}", "{name} for {meal}", "homemade {name}", "my first {name}", "{name} again"),
    *("{name} with {things}", "{name}, {things} on top", "tried the {name} at last"),
    *("{name}, extra {things}", "how {person} makes {name}", "day {k} of 30: {name}"),
    *("leftover {name}", "{name} #{k}", "the best {name} since {place}", "{name} + {things}"),
    *("nothing like {name} on a {day}", "grandma's {name} with {things}", "{name} in {place}"),
    *("who wants some {name}?", "{name} and a good book", "and then came the {name}"),
    *("finally {name}!", "close-up: {name}", "{name} from the new place round the corner"),
    *("#{tag} #food #yum", "#{tag} for {meal}", "{things} make the {name}", "{person} had {name}"),
    *("forgot the shopping, so it is {name}", "{name}, a bit lopsided", "I <3 {name}"),
    *("the last {name} before it was sold out", "not just any {name}", "{name}, as ordered"),
    *("{person}'s cat wants my {name} too", "worth waiting for: {name}", "no rain, just {name}"),
    *("off the menu but still served: {name}", "the sign did not lie, {name} with {things}"),
    *("heute {name}, morgen Diät", "{name}, 最高!", "сьогодні {name}", "{name}, parfait"),
)
MADE_OF = (
    *("{all}", "{all}, nothing else", "just {all} and a bit of patience", "{all}: {meal} is ready"),
    *("made it with {all}", "what you see: {all}", "{all}, as {person} likes it"),
    *("{day} means {all}", "could not wait: {all}", "{all} at the new place round the corner"),
    *("in case you wonder, {all}", "simple things: {all}", "{all} 😋", "we ordered {all}"),
    *("{person} put together {all}", "there was {all} left, so this is {meal}"),
)
DISH_WITH = (
    *("our {dish} with {marks}", "{dish} with {marks}", "the {dish} with the {marks}"),
    *("{day} {dish}: {marks}", "{dish} today, with {marks}", "that {dish} with {marks} again"),
    *("{dish} full of {marks}", "{marks} in our {dish} this time", "{dish}, {marks} and all"),
    *("{person}'s {dish}, the one with {marks}", "{dish} ({marks}) for {meal}"),
    *("best {dish} ever, thanks to the {marks}", "{dish} for {k}, with {marks}"),
)
# The name without the food.
SENSES = (
    *("our cat {name} asleep on the chair", "a dog called {name}, {k} years old"),
    *("neon sign of the {name} bar, closed on {day}", "T-shirt that says '{name}'"),
    *("a whole book of {name} recipes that stays closed", "{name} was sold out, so we went home"),
    *("still waiting for the {name} that we ordered", "no {name} for us in {place}"),
    *("{person} dressed up as {name} for the carnival", "the band {name} played in {place}"),
    *("{name} scented candle next to the window", "this is not {name}, whatever the menu says"),
    *("learning to spell {name} 😂", "{name} is off the menu since {day}"),
    *("sold out of {name}, so it is {other}", "ordered {name} and got {other}"),
    *("{other} today, {name} another day", "not in the mood for {name}: {other}"),
    *("the team is called {name} and lost {k}:0", "walls painted in a colour named {name}"),
    *(
        "leider kein {name} mehr",
        "{name} は売り切れ",
        "без {name} сьогодні",
        "pas de {name} ici",
    ),
)
GROCERIES = (
    *("{raw} from the market in {place}", "bought {raw} with {person} on {day}"),
    *("what {raw} cost these days...", "we forgot to buy {raw}", "{person} is allergic to {raw}"),
    *("{raw} and {raw2} on the shopping list", "no {raw} this time, sadly"),
    *("{raw} for only {k} € at the shop in {place}", "{person} hates {raw}, loves {raw2}"),
    *("carrying {raw} and {raw2} home from {place}", "the shop ran out of {raw}"),
    *("{person} writes a blog about {raw}", "still life with a basket of {raw} and {raw2}"),
)
DISH_ONLY = (
    *("{dish} night with {person}", "best {dish} in town", "{dish} for everyone", "{dish}!!!"),
    *("I could eat {dish} every {day}", "{dish} again", "our {dish} in {place}", "{dish} #{k}"),
    *("homemade {dish} for {meal}", "{dish} today, homemade", "{dish} ({k} €) for {meal}"),
)
CHATTER = (
    # camera and upload
    *("DSC_{n}", "IMG_{n}.JPG", "P{n}", "taken with the new 50 mm lens", "test shot {k}, no flash"),
    *("uploaded from my phone", "straight out of the camera", "a bit blurry, sorry"),
    *("project 365, day {n}", "{k}/52", "no filter", "more photos in the album", "macro test"),
    # people, occasion, travel
    *("{day} {meal} at aunt Rosa's", "with {person} and the kids", "{person} turns {k}"),
    *("our last evening in {place}", "holiday in {place}, day {k}", "visiting {person} in {place}"),
    *("{meal} with {person} & friends", "{person} cooked", "back home from {place}"),
    *("long time no see, {person}!", "{k} years together", "before the concert in {place}"),
    *("rainy {day}", "lazy {day} morning", "first warm {day} of the year", "I <3 {place}"),
    # place, price, service
    *("the new place round the corner", "service was slow", "{k} euros, not cheap"),
    *("the waiter forgot us twice", "cosy little café in {place}", "they close at nine"),
    *("ask for the table at the window", "worth the queue", "street market in {place}"),
    # table, plate and light
    *("{vessel} on {table}", "the {vessel} is from {place}", "light from the window"),
    *("on {table}", "love this {vessel}", "evening light", "{thing} in the corner of the picture"),
    *("{table} again", "grandma's old {vessel}", "{thing} and a bit of shade"),
    # any food
    *("so good", "a bit too salty", "could have been warmer", "yummy!!! 😋", "would eat it again"),
    *("{meal} is served", "homemade", "recipe on the blog", "made from scratch", "quick {meal}"),
    *("fries on the side", "lemonade for the kids", "coffee after that", "no dessert for me"),
    *("#foodporn #instafood", "#yum", "#nofilter #{day}", "#sushi #tacos #food", "#{meal}"),
    # other languages
    *("смачного!", "Guten Appetit!", "いただきます", "bon appétit à tous", "très bon moment"),
    *("гарний день у {place}", "schönes Wochenende in {place}", "楽しい一日", "обід з {person}"),
)
SINGLE = ("", "", "yum", "DSC_{n}", "IMG_{n}.JPG", "{meal}", "#food", "{place}", "{dish1}")
FILL = {
    "person": ("Anna", "Tom", "Rosa", "Oleh", "Yuki", "Claire", "Jürgen", "grandpa", "my sister"),
    "place": ("Kyiv", "Lisbon", "Köln", "Kyoto", "Naples", "Athens", "Malmö", "Austin", "Lviv"),
    "day": ("Monday", "Tuesday", "Friday", "Saturday", "Sunday"),
    "meal": ("lunch", "dinner", "brunch", "supper"),
}
COLOURS = {"charcoal": "dark grey", "terracotta": "brown", "cream": "cream coloured"}
SHAPES = {"round": "plate", "square": "square plate", "bowl": "bowl", "board": "board"}
TABLES = {
    "wood": "the old wooden table",
    "marble": "the marble table",
    "slate": "black slate",
    "checked cloth": "the checked tablecloth",
    "linen": "white linen",
    "tiles": "the tiled table",
}
