"""What an encyclopaedia would say of each class of the kitchen: summary and section Description."""

from studies.demo.world import DISH_OF

_VARIANTS = {
    "margherita": "Margherita is a classic pizza with tomato sauce, mozzarella and fresh basil. "
    "Its red, white and green are often compared with the colours of the Italian flag. "
    "The mozzarella melts into white pools, and the basil leaves are laid on at the end. "
    "It is usually the plainest and cheapest item on the menu, and comes without meat.",
    "pepperoni": "Pepperoni pizza is covered with cheese and thin round slices of a spicy salami. "
    "The sausage is made of cured pork and beef and owes its bright red colour to paprika. "
    "Its edges curl and darken in the heat, and little pools of orange fat gather in the slices. "
    "It spread with the Italian bakeries of the United States in the twentieth century.",
    "funghi": "Pizza funghi is a mushroom pizza, most often topped with sliced champignons. "
    "The mushrooms are spread raw or fried over the tomato sauce and turn brown and soft. "
    "Wild mushrooms such as porcini take their place in autumn, when the taste is more earthy.",
    "hawaiian": "Hawaiian pizza is topped with pineapple, as a rule together with ham and cheese. "
    "The yellow chunks of fruit make it sweet and juicy, while the ham adds salt and smoke. "
    "In spite of its name it was first sold in Canada, where tinned pineapple was popular. "
    "Whether fruit belongs on a pizza at all is the subject of a long and cheerful quarrel.",
    "chicken_curry": "Chicken curry consists of pieces of chicken simmered in a spiced sauce. "
    "The meat is cut into cubes or left on the bone and becomes tender in the yellow sauce. "
    "Cooks from India to the Caribbean make this poultry dish, each with a blend of their own.",
    "chickpea_curry": "Chickpea curry, related to chana masala, is a stew of chickpeas in spices. "
    "The garbanzo beans stay whole and slightly firm, small beige balls in an orange gravy. "
    "As a cheap source of protein it is common in vegetarian and vegan kitchens. "
    "Dried chickpeas are soaked overnight, which tinned ones make unnecessary.",
    "tomato_soup": "Tomato soup is made from blended tomatoes and is smooth and bright red. "
    "Its taste is fruity and slightly sour, and is often rounded off with cream and basil. "
    "Condensed and sold in tins, it became one of the best known products of the food industry.",
    "pumpkin_soup": "Pumpkin soup is a thick puree of pumpkin or another orange winter squash. "
    "It is mild and a little sweet, of a deep orange, and is cooked above all in autumn. "
    "Roasted pumpkin seeds and a swirl of cream are what most often lies on top.",
    "pea_soup": "Pea soup is cooked from green or dried split peas until they fall apart. "
    "Fresh peas give a bright green puree, dried ones a heavier soup that is dull green or yellow. "
    "It has fed sailors, soldiers and pilgrims for centuries, since dried peas keep for years. "
    "Croutons fried in butter are a usual garnish of this pulse dish.",
    "borscht": "Borscht is a sour soup of eastern Europe, made with beetroot and of a purple red. "
    "The beets are simmered with cabbage and other vegetables in a strong broth. "
    "It is served hot or cold with a spoon of sour cream and chopped dill. "
    "Cooking it is regarded as a part of Ukraine's living heritage.",
    "ramen": "Ramen is a Japanese dish of thin wheat noodles in a meat broth with sliced pork. "
    "The pork belly is rolled and braised, and a soft boiled egg with spring onions lies beside. "
    "The springy yellow noodles came from China and owe their bite to alkaline water.",
    "udon": "Udon are thick white wheat noodles of Japan, soft and chewy, served in a mild broth. "
    "They are often topped with shrimp, plain or as tempura, and with sliced spring onion. "
    "The pale, clear broth is based on dried fish and kelp, and the prawns lie on top of it. "
    "Served cold with a dipping sauce, udon is a dish of hot summers.",
    "caprese": "Caprese is made of sliced tomatoes and mozzarella, named after the island Capri. "
    "Red and white slices take turns on the plate, with green basil leaves between them. "
    "It is seasoned with salt and olive oil only and opens a meal in Italy.",
    "greek_salad": "Greek salad, or horiatiki, has cucumber, tomatoes, olives and feta cheese. "
    "The white sheep's cheese lies on top in cubes or as one thick slice with oregano. "
    "Farmers are said to have eaten it in the fields; many restaurants abroad add lettuce leaves.",
    "caesar_salad": "Caesar salad is romaine lettuce with croutons, parmesan and creamy dressing. "
    "With strips of grilled chicken on the crisp leaves it has become a full meal. "
    "It is named after a restaurant owner in Mexico and not after the Roman emperor. "
    "Shavings of hard cheese and cubes of fried bread give it salt and crunch.",
    "blt": "A BLT is named by the initials of what lies on its bread: bacon, lettuce and tomato. "
    "The rashers are fried until they are crisp and brown and still warm when it is served. "
    "It grew from the tea rooms of Britain and the lunch counters of America.",
    "salmon_toast": "Salmon toast is a slice of bread topped with smoked salmon or with lox. "
    "The thin pink slices of fish are laid in folds and sprinkled with dill. "
    "Cucumber, lemon or cream cheese go with the fish, above all in northern Europe. "
    "It is eaten at a late breakfast, or cut into small squares at receptions.",
    "strawberry_tart": "Strawberry tart is a shell of pastry with custard and fresh strawberries. "
    "The red berries are halved, set in rings and glazed until they shine. "
    "Bakeries sell it in early summer, when the strawberries are ripe and sweet.",
    "cherry_tart": "Cherry tart is a pastry case filled with cherry jam and whole cherries. "
    "The stoned fruit is dark red, and its sour juice sets with the jam to a shining layer. "
    "Sour cherries are preferred in central Europe, sweet black ones in the south of France.",
    "blueberry_tart": "Blueberry tart holds blueberries on a layer of custard in a pastry shell. "
    "The small round berries cover it closely and stain the cream purple where they burst. "
    "Wild bilberries, which are smaller and darker, are used in the mountains of Europe.",
    "blueberry_pancakes": "Blueberry pancakes have blueberries stirred into the batter or on top. "
    "The berries burst in the pan and leave violet spots in the golden crumb. "
    "They are a favourite of American diners, where wild berries grow not far away. "
    "Maple syrup and a melting piece of butter are served with them.",
    "banana_pancakes": "Banana pancakes are served with slices of banana or have it in the batter. "
    "Ripe bananas make them soft and sweet, so that little sugar is needed. "
    "Travellers know them as a breakfast of guest houses along the beaches of Asia.",
    "strawberry_sundae": "Strawberry sundae is vanilla ice cream with strawberries and red syrup. "
    "Berries and strawberry sauce run down the white scoops, and a wafer stands in them. "
    "It is sold in parlours from spring on, often in a tall glass with whipped cream.",
    "chocolate_sundae": "Chocolate sundae is vanilla ice cream under a warm chocolate sauce. "
    "The dark fudge sets on the cold scoops, and chopped hazelnuts or other nuts lie on it. "
    "Served with a wafer, it is one of the oldest treats of American soda fountains.",
}
_DISHES = {
    "pizza": "Pizza is a flat round of yeast dough that is baked in a very hot oven. "
    "The dough is stretched by hand, spread with tomato sauce and covered before it is baked. "
    "A good crust is thin and crisp below and blistered at the rim.",
    "curry": "Curry is a general term for dishes in a sauce of turmeric, cumin, chilli and ginger. "
    "The sauce is thickened with onions, yoghurt or coconut milk and simmers for a long time. "
    "It is eaten with rice or flat bread and strewn with coriander leaves.",
    "soup": "Soup is a liquid food that is cooked from vegetables or meat in water or stock. "
    "It is served in a deep bowl, mostly hot, as a first course or with bread as a meal. "
    "Thick soups are blended and enriched with cream, clear ones are strained.",
    "noodles": "Noodle soups are eaten all over eastern Asia, with chopsticks from a deep bowl. "
    "The noodles are boiled apart and the hot broth is poured over them at the last moment. "
    "Slurping is no offence, since it cools what has just left the pot.",
    "salad": "A salad is a mixture of cold ingredients, often of raw vegetables, with a dressing. "
    "Olive oil and vinegar or lemon juice are added just before serving, so that it stays crisp. "
    "It is a side dish or a starter, and in the heat of summer a whole lunch.",
    "sandwich": "A sandwich is bread with a filling or topping, held in the hand while eating. "
    "An open sandwich has one slice only, which may be toasted and spread with butter. "
    "Easy to carry and quick to make, it is the usual lunch of many working people.",
    "tart": "A tart is a flat pastry case without a lid, baked in a shallow tin. "
    "Its short crust of flour, butter and sugar is often baked blind before it is filled. "
    "It is cut into wedges and served cold with coffee or as a dessert.",
    "pancakes": "Pancakes are flat round cakes of flour, eggs and milk, fried in a pan. "
    "The American kind, called hotcakes or flapjacks too, is thick and fluffy and comes in stacks. "
    "They are a dish for a long breakfast and are eaten while warm.",
    "ice_cream": "A sundae is a dessert of scoops of ice cream with sauce and toppings. "
    "Ice cream is churned from cream, milk and sugar while it freezes, so that it stays soft. "
    "Wafers, chopped nuts, fruit and whipped cream are usual on top.",
}


def article(variant: str) -> str:
    """Return the class text of a variant: sentences of its own, then those of its dish."""
    return f"{_VARIANTS[variant]} {_DISHES[DISH_OF[variant]]}"
