"""What a model looked at: attention, its roll-out, gradients; and how far each of them may be believed.

The order to read it in: `attention` keeps the weights of a forward pass; `rollout` and `gradients` make one importance a token of them;
`words` joins tokens to what a person reads; `subject` says which number of the output is the answer; `faithfulness` takes words away
and looks whether the answer goes; `explanation` does all of it, and `page` draws it.
"""
