"""`kubectl vajra`: see and steer VajraDeployments, one screen per question.

It asks the cluster by running kubectl (`cluster`), so it has that one's user, proxies and contexts. `views` turn
objects into what is told, without any input or output; `texts` write it for people; `commands` bring the two together.
"""
