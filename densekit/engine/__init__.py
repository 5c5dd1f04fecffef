"""From a config file to a trained model: reading and checking the config, building the Runner, hooks."""
