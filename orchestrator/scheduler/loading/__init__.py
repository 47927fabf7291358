"""Loading: from the bundles of the settings to DAGs that fire and run.

loader     one thread a bundle, if no other scheduler loads it
rounds     one bundle: a change is parsed, stored, live
watching   looks at the source meanwhile
changes    which files are parsed again
contents   what is known of the files
owners     who keeps an id of a DAG that is there twice
"""
