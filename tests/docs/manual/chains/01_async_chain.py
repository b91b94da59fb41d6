# Lost in extraction: written anew
from django_q.tasks import async_chain, result_group
# run one task after the other
group_id = async_chain([('math.copysign', (1, -1)),
                        ('math.floor', (1,))])
# wait until both have finished
result = result_group(group_id, count=2)
