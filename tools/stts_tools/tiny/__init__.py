"""How `checkpoints/tiny` is made: the recipe, the weights and the tokenizer it starts from, and its model card."""
